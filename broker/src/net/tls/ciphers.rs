//! Cipher suites by the names that OpenSSL and the standards have for them, and OpenSSL's lists.

use rustls::crypto::ring::ALL_CIPHER_SUITES;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A suite that rustls has.
struct Cipher {
    suite: CipherSuite,
    /// What OpenSSL calls it.
    name: &'static str,
    /// Words of OpenSSL's lists that mean it, among others.
    words: &'static [&'static str],
}

const ECDSA: &[&str] = &["ECDSA", "aECDSA"];

const TLS12: &[Cipher] = &[
    Cipher {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        words: &["AES256", "AESGCM", "SHA384"],
    },
    Cipher {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        words: &["AES256", "AESGCM", "SHA384"],
    },
    Cipher {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        words: &["CHACHA20"],
    },
    Cipher {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        words: &["CHACHA20"],
    },
    Cipher {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        words: &["AES128", "AESGCM", "SHA256"],
    },
    Cipher {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        words: &["AES128", "AESGCM", "SHA256"],
    },
];

const TLS13: &[(CipherSuite, &str)] = &[
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
];

/// Words that mean every suite of ours for TLS 1.2.
const EVERY: &[&str] = &[
    "ALL",
    "DEFAULT",
    "HIGH",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
    "ECDH",
    "AES",
    "TLSv1.2",
    "FIPS",
    "SUITEB128",
    "SUITEB192",
];

/// Words of OpenSSL that mean none of ours, and what its other names are made of.
const NONE: &[&str] = &[
    "3DES",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "CBC3",
    "CCM",
    "CCM8",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "EDH",
    "EXP",
    "EXPORT",
    "GOST",
    "IDEA",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "SEED",
    "SHA",
    "SHA1",
    "SRP",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "aDSS",
    "aNULL",
    "aPSK",
    "aSRP",
    "eNULL",
    "kDHE",
    "kEDH",
    "kDHEPSK",
    "kECDHEPSK",
    "kPSK",
    "kRSA",
    "kRSAPSK",
    "kSRP",
];

/// Parts of suites' names that are no words by themselves.
const PARTS: &[&str] =
    &["AES128", "AES256", "GCM", "CHACHA20", "POLY1305", "RSA", "ECDSA", "SHA256", "SHA384"];

/// What OpenSSL calls a suite, and so does the log.
pub fn name(suite: CipherSuite) -> &'static str {
    let tls12 = TLS12.iter().map(|cipher| (cipher.suite, cipher.name));
    let known = tls12.chain(TLS13.iter().copied()).find(|(other, _)| *other == suite);
    known.map_or("of a name unknown here", |(_, name)| name)
}

/// The suites that lists of OpenSSL's choose, of TLS 1.3 and then of TLS 1.2, each in the order of
/// its list.
pub(super) fn suites(tls13: &[CipherSuite], tls12: &[CipherSuite]) -> Vec<SupportedCipherSuite> {
    let ours = |wanted: &CipherSuite| ALL_CIPHER_SUITES.iter().find(|s| s.suite() == *wanted);
    tls13.iter().chain(tls12).filter_map(ours).copied().collect()
}

/// Every suite of TLS 1.3.
pub(super) fn all_tls13() -> Vec<CipherSuite> {
    TLS13.iter().map(|(suite, _)| *suite).collect()
}

/// Every suite of TLS 1.2.
pub(super) fn all_tls12() -> Vec<CipherSuite> {
    TLS12.iter().map(|cipher| cipher.suite).collect()
}

/// Takes a list for TLS 1.3: names, divided by colons.
pub(super) fn tls13(list: &str) -> Result<Vec<CipherSuite>, String> {
    let mut chosen = Vec::new();
    for word in list.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        match TLS13.iter().find(|(_, name)| *name == word) {
            Some((suite, _)) if !chosen.contains(suite) => chosen.push(*suite),
            Some(_) => {}
            None if matches!(word, "TLS_AES_128_CCM_SHA256" | "TLS_AES_128_CCM_8_SHA256") => {}
            None => {
                return Err(format!("{word:?} is no cipher; {}", these(TLS13.iter().map(|c| c.1))));
            }
        }
    }
    if chosen.is_empty() {
        return Err(format!("leaves no cipher; {}", these(TLS13.iter().map(|c| c.1))));
    }
    Ok(chosen)
}

/// Takes a list for TLS 1.2, as OpenSSL reads it: words add suites, or with `-` take them away,
/// with `!` for ever, with `+` to the end.
pub(super) fn tls12(list: &str) -> Result<Vec<CipherSuite>, String> {
    let (mut chosen, mut banned): (Vec<&Cipher>, Vec<&str>) = (Vec::new(), Vec::new());
    for item in list.split([':', ',', ' ']).filter(|item| !item.is_empty()) {
        let (sign, words) = match item.split_at(1) {
            ("@", _) => continue, // how they are sorted, and a level of security: ours is higher
            (sign @ ("!" | "-" | "+"), words) => (sign, words),
            _ => ("", item),
        };
        let meant = meant(words)?;
        let is_meant = |cipher: &&Cipher| meant.iter().any(|other| other.name == cipher.name);
        match sign {
            "!" => banned.extend(meant.iter().map(|cipher| cipher.name)),
            "-" => chosen.retain(|cipher| !is_meant(cipher)),
            "+" => {
                let (last, first): (Vec<_>, Vec<_>) = chosen.into_iter().partition(is_meant);
                chosen = first.into_iter().chain(last).collect();
            }
            _ => {
                let new = meant.iter().filter(|c| chosen.iter().all(|other| other.name != c.name));
                chosen.extend(new.copied().collect::<Vec<_>>());
            }
        }
        chosen.retain(|cipher| !banned.contains(&cipher.name));
    }
    if chosen.is_empty() {
        return Err(format!("leaves no cipher; {}", these(TLS12.iter().map(|c| c.name))));
    }
    Ok(chosen.into_iter().map(|cipher| cipher.suite).collect())
}

/// The suites that a name means, or all of several words joined by `+`.
fn meant(words: &str) -> Result<Vec<&'static Cipher>, String> {
    let words: Vec<&str> = words.split('+').collect();
    for word in &words {
        let known = TLS12.iter().any(|cipher| cipher.is(word)) || NONE.contains(word);
        let part =
            |part: &str| NONE.contains(&part) || PARTS.contains(&part) || EVERY.contains(&part);
        let composed = word.contains('-') && word.split('-').all(part);
        let of_tls13 = TLS13.iter().any(|(_, name)| name == word);
        if !known && !composed && !of_tls13 {
            let names = these(TLS12.iter().map(|cipher| cipher.name));
            return Err(format!("{word:?} is no cipher and no word of OpenSSL's lists; {names}"));
        }
    }
    Ok(TLS12.iter().filter(|cipher| words.iter().all(|word| cipher.is(word))).collect())
}

impl Cipher {
    fn is(&self, word: &str) -> bool {
        let by_ecdsa = self.name.contains("-ECDSA-");
        self.name == word
            || self.words.contains(&word)
            || EVERY.contains(&word)
            || (by_ecdsa && ECDSA.contains(&word))
            || (!by_ecdsa && matches!(word, "aRSA" | "RSA"))
            || self.suite.as_str() == Some(word)
    }
}

fn these<'a>(names: impl Iterator<Item = &'a str>) -> String {
    format!("there are {}", names.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Result<Vec<&'static str>, String> {
        tls12(list).map(|chosen| chosen.into_iter().map(name).collect())
    }

    #[test]
    fn lists_choose_as_openssl_chooses() {
        let all: Vec<&str> = TLS12.iter().map(|cipher| cipher.name).collect();
        let by_ecdsa: Vec<&str> = all.iter().copied().filter(|n| n.contains("-ECDSA-")).collect();
        let rows: &[(&str, &[&str])] = &[
            ("HIGH", &all),
            ("HIGH:!aNULL:!MD5:@STRENGTH", &all),
            ("ECDHE-RSA-AES256-GCM-SHA384", &["ECDHE-RSA-AES256-GCM-SHA384"]),
            (
                "DHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256:AES256-SHA",
                &["ECDHE-RSA-AES128-GCM-SHA256"],
            ),
            ("ECDHE+aECDSA", &by_ecdsa),
            ("ALL:!aRSA", &by_ecdsa),
            (
                "CHACHA20:AES128:-ECDSA",
                &["ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"],
            ),
            (
                "CHACHA20:AES128:!ECDSA:+CHACHA20:ECDSA",
                &["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"],
            ),
            ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", &["ECDHE-RSA-AES256-GCM-SHA384"]),
        ];
        for (list, expected) in rows {
            assert_eq!(names(list).as_deref(), Ok(*expected), "{list}");
        }
    }

    #[test]
    fn what_is_unknown_or_leaves_nothing_names_what_there_is() {
        for (list, words) in [
            ("HIHG", "\"HIHG\" is no cipher and no word of OpenSSL's lists; there are ECDHE-"),
            ("HIGH:ECDHE-RSA-AES512-GCM-SHA384", "\"ECDHE-RSA-AES512-GCM-SHA384\" is no cipher"),
            ("AES256-SHA", "leaves no cipher; there are ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-"),
            ("HIGH:!HIGH", "leaves no cipher; there are"),
        ] {
            let said = names(list).expect_err(list);
            assert!(said.starts_with(words), "{said}");
        }
        let said = tls13("TLS_AES_512").expect_err("no cipher");
        assert!(said.starts_with("\"TLS_AES_512\" is no cipher; there are TLS_AES_256_GCM"));
        let said = tls13("TLS_AES_128_CCM_SHA256").expect_err("rustls has none");
        assert!(said.starts_with("leaves no cipher; there are TLS_AES_256"), "{said}");
        let chosen = tls13("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384").expect("both");
        assert_eq!(
            chosen.into_iter().map(name).collect::<Vec<_>>(),
            ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]
        );
    }

    #[test]
    fn every_suite_of_the_library_has_its_name_here() {
        for suite in ALL_CIPHER_SUITES {
            assert!(!name(suite.suite()).contains(' '), "{suite:?}");
        }
        assert_eq!(ALL_CIPHER_SUITES.len(), TLS12.len() + TLS13.len());
    }
}
