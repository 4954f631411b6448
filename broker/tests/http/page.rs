//! The description of all paths, and the pages.

use std::collections::BTreeSet;

use crate::running::Running;
use crate::{open, settings};

/// Whoever adds a path describes it, and nothing is described that is not there.
#[test]
fn the_description_has_every_path_that_answers() {
    let broker = Running::start(settings());
    let mut http = open(&broker);
    let spec = http.get("/spec").json();
    assert!(spec["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{spec}");
    let described: BTreeSet<&str> =
        spec["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    let routes = include_str!("../../src/http/routes.rs");
    let routed = routes.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    let routed = routed.filter_map(|rest| rest.split('"').next()).map(|path| path.replace('*', ""));
    let pages = ["/", "/assets/{name}", "/spec/try", "/push/", "/realtime/"];
    // Of every topic: as with a filter.
    let pages = [&pages[..], &["/consume/", "/latest/", "/latest_time/"]].concat();
    let routed: BTreeSet<String> = routed.filter(|path| !pages.contains(&path.as_str())).collect();
    assert_eq!(described, routed.iter().map(String::as_str).collect());
}

#[test]
fn pages_bring_all_they_need_and_fetch_nothing_from_elsewhere() {
    let broker = Running::start(settings());
    let mut http = open(&broker);
    for path in ["/", "/spec/try"] {
        let page = http.get(path);
        let policy = page.header("content-security-policy").expect("a policy").to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let text = page.text();
        for part in text.split(['"', '\'']).filter(|part| part.starts_with("/assets/")) {
            let asset = http.get(part);
            assert_eq!(asset.status, 200, "{part}");
            let foreign = asset.text().replace("http://www.w3.org/", "");
            assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{part}");
        }
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
    }
}
