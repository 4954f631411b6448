//! What the environment says: `MARTLET_SECTION__OPTION`.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

use crate::config::nearest::nearest;
use crate::config::origin::{Mistake, Origin};
use crate::config::rows;
use crate::config::written::{Setting, Written};

/// Takes the variables that begin with `MARTLET_`; what is wrong is added to `mistakes`.
pub(crate) fn read(variables: &[(OsString, OsString)], mistakes: &mut Vec<Mistake>) -> Written {
    let mut written = Written::default();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if name.starts_with("MARTLET_") && !is_of_kubernetes(&name, value) {
            let origin = Origin::Variable { name: name.clone().into_owned() };
            match setting(&name, value.clone(), origin.clone()) {
                Ok(setting) => written.settings.push(setting),
                Err(text) => mistakes.push(Mistake::new(origin, text)),
            }
        }
    }
    written
}

/// The variable of mosquitto's own, which is stronger than its file.
const LOCATION: &str = "MOSQUITTO_PERSISTENCE_LOCATION";

/// Where mosquitto would keep its state, if the environment says so.
pub(crate) fn mosquitto_location(variables: &[(OsString, OsString)]) -> Option<Setting> {
    let (_, value) = variables.iter().find(|(name, _)| name == LOCATION)?;
    let row = rows::find("data", "dir").expect("there is a state directory");
    let value = row.parse(Cow::Owned(value.clone().into_string().ok()?)).ok()?;
    Some(Setting { row, value, origin: Origin::Variable { name: LOCATION.to_owned() } })
}

fn setting(name: &str, value: OsString, origin: Origin) -> Result<Setting, String> {
    let Some(row) = rows::all().find(|row| row.variable().as_deref() == Some(name)) else {
        return Err(unknown(name));
    };
    let text = value.into_string().map_err(|_| "is not UTF-8 text".to_owned())?;
    let value = row.parse(Cow::Owned(text))?;
    Ok(Setting { row, value, origin })
}

fn unknown(name: &str) -> String {
    let begins = |section: &str| {
        let rest = name.strip_prefix("MARTLET_");
        rest.is_some_and(|rest| rest.starts_with(&section.to_uppercase()))
    };
    if let Some((_, one)) = rows::REPEATED.iter().find(|(section, _)| begins(section)) {
        return format!("{one}s are a list, which the environment cannot set: use a file");
    }
    let variables = rows::all().filter_map(|row| row.variable()).map(|name| (name.clone(), name));
    match nearest(name, variables) {
        Some(meant) => format!("sets no option; did you mean {meant}?"),
        None => "sets no option; `martlet config show` lists all of them".to_owned(),
    }
}

/// Whether Kubernetes put it there: it tells every container about every service, and a service
/// called `martlet` is told as `MARTLET_SERVICE_HOST`, `MARTLET_PORT=tcp://...`,
/// `MARTLET_PORT_1883_TCP_ADDR` and so on.
fn is_of_kubernetes(name: &str, value: &OsStr) -> bool {
    let tells_of_service = |rest: &str| match rest.strip_prefix("PORT") {
        Some("") => value.to_string_lossy().contains("://"),
        Some(number) => number.strip_prefix('_').is_some_and(|n| n.starts_with(char::is_numeric)),
        None => rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT"),
    };
    !name.contains("__") && name.match_indices('_').any(|(at, _)| tells_of_service(&name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;

    fn read_one(name: &str, value: &str) -> Result<Option<Value>, String> {
        let mut mistakes = Vec::new();
        let written = read(&[(name.into(), value.into())], &mut mistakes);
        match mistakes.pop() {
            Some(mistake) => Err(mistake.to_string()),
            None => Ok(written.settings.into_iter().next().map(|setting| setting.value)),
        }
    }

    #[test]
    fn values_are_typed_by_their_option_and_by_nothing_else() {
        let text = |text: &'static str| Ok(Some(Value::Text(text.into())));
        assert_eq!(read_one("MARTLET_LIMITS__INFLIGHT_MAX", "7"), Ok(Some(Value::Integer(7))));
        assert_eq!(read_one("MARTLET_LIMITS__QUEUE_QOS0", "true"), Ok(Some(Value::Bool(true))));
        assert_eq!(read_one("MARTLET_CLIENTS__AUTO_ID_PREFIX", "007"), text("007"));
        assert_eq!(read_one("MARTLET_CLIENTS__AUTO_ID_PREFIX", "true"), text("true"));
        assert_eq!(read_one("HOME", "/"), Ok(None));
    }

    #[test]
    fn mistakes_name_the_variable_and_what_was_meant() {
        let rows = [
            ("MARTLET_LIMITS__INFLIGHT_MAX", "many", "takes a whole number from 1 to 65535, not"),
            ("MARTLET_LIMITS__INFLIGHT_MAX", "", "takes a whole number from 1 to 65535, not \"\""),
            ("MARTLET_LIMITS__QUEUE_QOS0", "yes", "takes true or false, not \"yes\""),
            ("MARTLET_LIMITS_INFLIGHT_MAX", "7", "did you mean MARTLET_LIMITS__INFLIGHT_MAX?"),
            ("MARTLET_LIMITS__MAX_INFLIGHT", "7", "did you mean MARTLET_LIMITS__INFLIGHT_MAX?"),
            ("MARTLET_LISTENER__PORT", "1883", "the environment cannot set: use a file"),
            ("MARTLET_BACKGROUND", "red", "`martlet config show` lists all of them"),
        ];
        for (name, value, text) in rows {
            let said = read_one(name, value).expect_err(name);
            assert!(said.starts_with(&format!("environment variable {name}: ")), "{said}");
            assert!(said.contains(text), "{said}");
        }
    }

    #[test]
    fn what_kubernetes_says_of_a_service_called_martlet_is_not_ours() {
        let names = [
            "MARTLET_SERVICE_HOST",
            "MARTLET_SERVICE_PORT",
            "MARTLET_SERVICE_PORT_MQTT",
            "MARTLET_PORT",
            "MARTLET_PORT_1883_TCP",
            "MARTLET_PORT_1883_TCP_PROTO",
            "MARTLET_PORT_1883_TCP_PORT",
            "MARTLET_PORT_1883_TCP_ADDR",
            "MARTLET_MQTT_SERVICE_HOST",
            "MARTLET_MQTT_PORT_1883_TCP",
        ];
        for name in names {
            assert_eq!(read_one(name, "tcp://10.0.0.1:1883"), Ok(None), "{name}");
        }
        assert!(read_one("MARTLET_PORT", "1883").is_err());
        assert!(read_one("MARTLET_PORTS", "1883").is_err());
    }
}
