//! What a running broker can take of a new configuration.

use std::collections::BTreeSet;

use config::{Map, Value as Layered};

use crate::config::Resolved;
use crate::config::rows::{self, BRIDGE, LISTENER, Row, TELEMETRY};

/// Options that take effect in a broker that runs. The others wait for the next start.
const LIVE: &[(&str, &str)] = &[
    (LISTENER, "allow_anonymous"),
    (LISTENER, "password_file"),
    (LISTENER, "acl_file"),
    (LISTENER, "acl_dialect"),
    (LISTENER, "use_username_as_clientid"),
    (LISTENER, "certfile"),
    (LISTENER, "keyfile"),
    (LISTENER, "client_certificates"),
    (LISTENER, "cafile"),
    (LISTENER, "capath"),
    (LISTENER, "crlfile"),
    (LISTENER, "crl_must_be_current"),
    (LISTENER, "use_identity_as_username"),
    (LISTENER, "use_subject_as_username"),
    (LISTENER, "disable_client_cert_date_checks"),
    (LISTENER, "tls_version_min"),
    (LISTENER, "ciphers"),
    (LISTENER, "ciphers_tls13"),
    (LISTENER, "tls_fragment_bytes_max"),
    (LISTENER, "tls_sessions_max"),
    ("access", "password_file"),
    ("access", "acl_file"),
    ("access", "subscribe"),
    ("auth_jwt", "key_file"),
    ("auth_jwt", "secret_file"),
    ("auth_jwt", "secret"),
    ("auth_jwt", "place"),
    ("auth_jwt", "user_claim"),
    ("auth_jwt", "publish_claim"),
    ("auth_jwt", "subscribe_claim"),
    ("auth_jwt", "issuer"),
    ("auth_jwt", "audience"),
    ("auth_jwt", "leeway_s"),
    ("auth_jwt", "expiry"),
    ("access", "client_id_prefix"),
    ("access", "ban_after"),
    ("access", "ban_s"),
    ("limits", "connects_per_address_per_s"),
    ("limits", "inflight_max"),
    ("limits", "inflight_qos2_max"),
    ("limits", "inflight_bytes_max"),
    ("limits", "received_max"),
    ("limits", "queue_messages_max"),
    ("limits", "queue_bytes_max"),
    ("limits", "all_queues_bytes_max"),
    ("limits", "queue_qos0"),
    ("limits", "retained_messages_max"),
    ("limits", "retained_bytes_max"),
    ("limits", "subscriptions_per_session_max"),
    ("limits", "sessions_max"),
    ("limits", "keep_alive_max_s"),
    ("limits", "session_expiry_s"),
    ("limits", "publishes_per_client_per_s"),
    ("limits", "publish_bytes_per_client_per_s"),
    ("limits", "publish_burst_s"),
    ("clients", "allow_zero_length_client_id"),
    ("clients", "auto_id_prefix"),
    ("log", "destinations"),
    ("log", "level"),
    ("log", "types"),
    ("log", "format"),
    ("log", "compat"),
    ("log", "timestamp"),
    ("log", "timestamp_format"),
    ("log", "facility"),
    ("http", "allow_anonymous"),
    ("http", "password_file"),
    ("http", "acl_file"),
    ("http", "token_file"),
    ("http", "admins"),
    ("http", "origins"),
    ("http", "certfile"),
    ("http", "keyfile"),
    ("http", "client_certificates"),
    ("http", "cafile"),
    ("http", "capath"),
    ("http", "crlfile"),
    ("http", "crl_must_be_current"),
    ("http", "use_identity_as_username"),
    ("http", "use_subject_as_username"),
    ("http", "disable_client_cert_date_checks"),
    ("http", "tls_version_min"),
    ("http", "ciphers"),
    ("http", "ciphers_tls13"),
    ("http", "tls_fragment_bytes_max"),
    ("http", "tls_sessions_max"),
    ("log", "connection_messages"),
    ("sys", "interval_s"),
    ("sys", "clients"),
];

/// Sections of which there may be more or fewer in a broker that runs.
const COME_AND_GO: &[&str] = &[TELEMETRY, BRIDGE];

impl Row {
    /// Whether a reload is enough for it.
    pub(crate) fn is_live(&self) -> bool {
        COME_AND_GO.contains(&self.section) || LIVE.contains(&(self.section, self.name))
    }
}

impl Resolved {
    /// The options that are not the same in `new` and that only a start reads, with the places of
    /// their new values.
    pub fn waits_for_restart(&self, new: &Self) -> Vec<String> {
        let mut changed = BTreeSet::new();
        let stay = |(section, _): &&(&str, _)| !COME_AND_GO.contains(section);
        for (section, one) in rows::REPEATED.iter().filter(stay) {
            let (before, after) = (self.all_of(section), new.all_of(section));
            if before.len() != after.len() {
                changed.insert(format!("The number of {one}s"));
                continue;
            }
            for (before, after) in before.iter().zip(&after) {
                compare(section, before, after, &mut changed);
            }
        }
        let sections = rows::all().map(|row| row.section);
        for section in sections.filter(|section| !rows::is_repeated(section)) {
            let table = |resolved: &Self| resolved.merged.get_table(section).unwrap_or_default();
            compare(section, &table(self), &table(new), &mut changed);
        }
        changed.into_iter().collect()
    }

    fn all_of(&self, section: &str) -> Vec<Map<String, Layered>> {
        let all = self.merged.get_array(section).unwrap_or_default();
        all.into_iter().map(|one| one.into_table().unwrap_or_default()).collect()
    }
}

fn compare(
    section: &str,
    before: &Map<String, Layered>,
    after: &Map<String, Layered>,
    changed: &mut BTreeSet<String>,
) {
    for row in rows::all().filter(|row| row.section == section && !row.is_live()) {
        let (before, after) = (before.get(row.name), after.get(row.name));
        if before.map(|value| &value.kind) != after.map(|value| &value.kind) {
            let place = after.and_then(Layered::origin).unwrap_or("left out");
            changed.insert(format!("{}.{} ({place})", row.section, row.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Override, Sources, load};

    fn with(overrides: &[(&'static str, &'static str, &str)], ports: &[u16]) -> Resolved {
        let overrides = overrides.iter().map(|&(section, name, value)| Override {
            option: "-x",
            section,
            name,
            value: value.to_owned(),
        });
        let sources =
            Sources { overrides: overrides.collect(), ports: ports.to_vec(), ..Sources::default() };
        load(&sources).expect("these options are good")
    }

    #[test]
    fn live_options_exist() {
        for (section, name) in LIVE {
            assert!(rows::all().any(|row| (row.section, row.name) == (*section, *name)), "{name}");
        }
    }

    #[test]
    fn what_only_a_start_reads_is_named_with_its_place() {
        let rows: &[(&[_], &[u16], &[&str])] = &[
            (&[], &[1], &[]),
            (&[("limits", "inflight_max", "5"), ("sys", "interval_s", "1")], &[1], &[]),
            (&[("data", "dir", "/x")], &[1], &["data.dir (command line -x)"]),
            (&[], &[2], &["listener.address (command line -p)"]),
            (&[], &[1, 2], &["The number of listeners"]),
        ];
        let before = with(&[], &[1]);
        for (overrides, ports, expected) in rows {
            assert_eq!(before.waits_for_restart(&with(overrides, ports)), *expected);
        }
    }
}
