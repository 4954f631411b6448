use super::*;

fn v2(command: u8, family: u8, fields: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(fields.len()).expect("a test's header is short").to_be_bytes());
    header.extend(fields);
    header
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).expect("a test's field is short").to_be_bytes();
    [&[kind][..], &len, value].concat()
}

const IPV4: &[u8] = &[192, 0, 2, 1, 127, 0, 0, 1, 0xc3, 0x50, 7, 0x5b];

/// Flags, whether the certificate was good, and what is said of it.
fn tls(flags: u8, verify: u32, fields: &[u8]) -> Vec<u8> {
    let ssl = field(0x20, &[&[flags][..], &verify.to_be_bytes(), fields].concat());
    v2(1, 0x11, &[IPV4, &field(4, &[0; 7]), &ssl].concat())
}

fn client(text: &str) -> Option<SocketAddr> {
    Some(text.parse().expect("an address"))
}

#[test]
fn headers_say_where_the_client_is() {
    let ipv6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0, 9, 7, 0x5b]].concat();
    let rows: &[(Version, Vec<u8>, Option<SocketAddr>)] = &[
        (
            Version::V1,
            b"PROXY TCP4 192.0.2.1 127.0.0.1 50000 1883\r\n".into(),
            client("192.0.2.1:50000"),
        ),
        (Version::V1, b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n".into(), client("[2001:db8::7]:0")),
        (Version::V1, b"PROXY UNKNOWN\r\n".into(), None),
        (Version::V1, b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".into(), None),
        (Version::V2, v2(1, 0x11, IPV4), client("192.0.2.1:50000")),
        (Version::V2, v2(1, 0x21, &ipv6), client("[2001:db8::7]:9")),
        (Version::V2, v2(0, 0x11, &[]), None),
        (Version::V2, v2(0, 0, b"any"), None),
        (Version::V2, v2(1, 0, b"???"), None),
        (Version::V2, v2(1, 0x31, &[b'/'; 216]), None),
    ];
    for (version, header, client) in rows {
        let itself = *version == Version::V2 && header[12] == 0x20;
        let told = match itself {
            true => Told::Itself,
            false => Told::Client { address: *client, tls: false, certificate: None },
        };
        let connect = b"\x10\x0d\0\x04MQTT";
        let bytes = [&header[..], connect].concat();
        assert_eq!(parse(*version, &bytes), Ok(Parsed::Whole(told, header.len())), "{header:?}");
        for len in 0..header.len() {
            assert_eq!(parse(*version, &bytes[..len]), Ok(Parsed::Incomplete), "{len} {header:?}");
        }
    }
}

#[test]
fn a_certificate_counts_when_the_proxy_has_verified_it() {
    let name = field(0x22, b"sensor 1");
    let more = [&field(0x21, b"TLSv1.3")[..], &name].concat();
    let rows: &[(Vec<u8>, bool, Option<&str>)] = &[
        (tls(1, 0, &field(0x21, b"TLSv1.3")), true, None),
        (tls(3, 0, &more), true, Some("sensor 1")),
        (tls(5, 0, &more), true, Some("sensor 1")),
        (tls(3, 18, &more), true, None),
        (tls(1, 0, &more), true, None),
        (tls(2, 0, &more), false, None),
        (tls(0, 0, &name), false, None),
    ];
    for (header, over_tls, common_name) in rows {
        let Ok(Parsed::Whole(told, _)) = parse(Version::V2, header) else { panic!("{header:?}") };
        let Told::Client { tls, certificate, .. } = told else { panic!("{header:?}") };
        let named = certificate.as_ref().and_then(|names| names.common_name.as_deref());
        assert_eq!((tls, named), (*over_tls, *common_name), "{header:?}");
    }
}

#[test]
fn what_is_no_header_is_refused_as_soon_as_that_is_sure() {
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
    let rows: &[(Version, Vec<u8>)] = &[
        (Version::V1, b"\x10".into()),
        (Version::V1, b"PROXYTCP4 ".into()),
        (Version::V1, b"PROXY TCP4 192.0.2.1 127.0.0.1 50000\r\n".into()),
        (Version::V1, b"PROXY TCP4 192.0.2.1 127.0.0.1 50000 1883 x\r\n".into()),
        (Version::V1, b"PROXY TCP4 192.0.2.1 127.0.0.1 50000 65536\r\n".into()),
        (Version::V1, b"PROXY TCP4 192.0.2.1 127.0.0.1 +5000 1883\r\n".into()),
        (Version::V1, b"PROXY TCP4 192.0.2.1 127.0.0.1  1883\r\n".into()),
        (Version::V1, b"PROXY TCP4 ::1 ::1 50000 1883\r\n".into()),
        (Version::V1, b"PROXY TCP6 192.0.2.1 127.0.0.1 50000 1883\r\n".into()),
        (Version::V1, b"PROXY UDP4 192.0.2.1 127.0.0.1 50000 1883\r\n".into()),
        (Version::V1, b"PROXY UNKNOWNS\r\n".into()),
        (Version::V1, b"PROXY TCP4 \xff 127.0.0.1 50000 1883\r\n".into()),
        (Version::V1, b"PROXY \r\n".into()),
        (Version::V1, long),
        (Version::V1, v2(1, 0x11, IPV4)),
        (Version::V2, b"\x10\x0d".into()),
        (Version::V2, b"\r\n\r\n\r".into()),
        (Version::V2, b"PROXY UNKNOWN\r\n".into()),
        (Version::V2, [&SIGNATURE[..], &[0x11, 0x11, 0, 0]].concat()),
        (Version::V2, v2(2, 0x11, IPV4)),
        (Version::V2, v2(1, 0x11, &IPV4[1..])),
        (Version::V2, v2(1, 0x21, IPV4)),
        (Version::V2, v2(1, 0x14, IPV4)),
        (Version::V2, v2(1, 0x31, &[b'/'; 215])),
        (Version::V2, v2(1, 0x11, &[IPV4, &[4, 0]].concat())),
        (Version::V2, v2(1, 0x11, &[IPV4, &[4, 0, 2, 0]].concat())),
        (Version::V2, v2(1, 0x11, &[IPV4, &field(0x20, &[1, 0])].concat())),
        (Version::V2, tls(3, 0, &[0x22, 0, 9])),
        (Version::V2, tls(3, 0, &field(0x22, b"\xff"))),
        (Version::V2, [&SIGNATURE[..], &[0x21, 0x11, 0x10, 0]].concat()),
    ];
    for (version, bytes) in rows {
        assert!(parse(*version, bytes).is_err(), "{:?}", bytes.escape_ascii().to_string());
    }
}

/// Neither a panic nor an endless wait, whatever comes.
#[test]
fn random_bytes_end_in_a_verdict() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..20_000 {
        let (version, mut bytes) = match round % 3 {
            0 => (Version::V1, b"PROXY TCP4 192.0.2.1 127.0.0.1 50000 1883\r\n".to_vec()),
            1 => (Version::V2, tls(3, 0, &field(0x22, b"sensor 1"))),
            _ => (Version::V2, v2(1, 0x21, &[random() as u8; 48])),
        };
        for _ in 0..1 + random() % 3 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        let whole = parse(version, &bytes);
        bytes.resize(HEADER_BYTES_MAX, b'x');
        assert_ne!(parse(version, &bytes), Ok(Parsed::Incomplete), "at the bound it is decided");
        if let Ok(Parsed::Whole(_, len)) = whole {
            assert!(len <= bytes.len());
        }
    }
}

#[test]
fn proxies_are_addresses_and_networks() {
    let proxies: Proxies = "10.0.0.0/8, 192.0.2.7,2001:db8::/32".parse().expect("three");
    let rows = [
        ("10.255.0.1", true),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("::ffff:10.1.1.1", true),
        ("2001:db8::9", true),
        ("2001:db9::9", false),
    ];
    for (address, believed) in rows {
        assert_eq!(proxies.hold(address.parse().expect("an address")), believed, "{address}");
    }
    assert!("".parse::<Proxies>().expect("none").is_empty());
    assert!("10.0.0.0/33".parse::<Proxies>().is_err());
    assert!("proxy.example".parse::<Proxies>().expect_err("a name").contains("proxy.example"));
}
