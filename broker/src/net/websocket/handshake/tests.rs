use super::*;

const GOOD: &str = "GET /any/path?token=x HTTP/1.1\r\nHost: broker.example:9001\r\n\
    Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
    Origin: https://example.org\r\n\r\n";

fn decide(bytes: &[u8], settings: &Settings) -> Answer {
    answer(bytes, settings, PeerAddress::Ip(([127, 0, 0, 1], 40_000).into()))
}

/// The status line, or what else became of it.
fn status(bytes: &[u8], settings: &Settings) -> String {
    let (bytes, why) = match decide(bytes, settings) {
        Answer::Wait => return "wait".into(),
        Answer::Welcome { response, .. } => (response, Cow::Borrowed("")),
        Answer::Refused { response, reason } => (response, reason),
    };
    let text = String::from_utf8(bytes).expect("answers are text");
    let first = text.lines().next().unwrap_or("silence").trim_start_matches("HTTP/1.1 ");
    assert!(text.is_empty() || text.contains("\r\n\r\n"), "{text}");
    format!("{first}: {why}")
}

#[test]
fn a_request_is_answered_with_its_key_and_the_sub_protocol() {
    let settings = Settings::default();
    for len in 0..GOOD.len() {
        assert!(matches!(decide(&GOOD.as_bytes()[..len], &settings), Answer::Wait), "{len}");
    }
    let bytes = [GOOD.as_bytes(), b"frames"].concat();
    let Answer::Welcome { request_len, response, client } = decide(&bytes, &settings) else {
        panic!("it is good")
    };
    assert_eq!((request_len, client), (GOOD.len(), None));
    let text = String::from_utf8(response).expect("text").to_lowercase();
    assert!(text.starts_with("http/1.1 101 switching protocols\r\n"), "{text}");
    // The example of RFC 6455.
    assert!(text.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{text}");
    assert!(text.contains("sec-websocket-protocol: mqtt\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n"), "{text}");
}

/// [MQTT-6.0.0-4]
#[test]
fn of_the_sub_protocols_that_are_offered_mqtt_is_taken() {
    let rows = [
        ("mqtt", Some("mqtt")),
        ("mqttv3.1", Some("mqttv3.1")),
        ("mqttv3.1, mqtt", Some("mqtt")),
        ("chat\r\nSec-WebSocket-Protocol: mqtt", Some("mqtt")),
        ("chat, superchat", None),
        ("MQTT", None),
        ("", None),
    ];
    for (offered, taken) in rows {
        let request = GOOD.replace("Protocol: mqtt", &format!("Protocol: {offered}"));
        match (decide(request.as_bytes(), &Settings::default()), taken) {
            (Answer::Welcome { response, .. }, Some(taken)) => {
                let text = String::from_utf8(response).expect("text").to_lowercase();
                assert!(text.contains(&format!("protocol: {taken}\r\n")), "{text}");
            }
            (Answer::Refused { reason, .. }, None) => assert!(reason.contains("sub-protocol")),
            (other, _) => panic!("{offered:?}: {other:?}"),
        }
    }
}

#[test]
fn bad_requests_are_told_what_is_wrong() {
    let without = |header: &str| {
        let lines = GOOD.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with(header)).collect::<String>()
    };
    let rows = [
        (without("Sec-WebSocket-Protocol"), "400 Bad Request: it does not offer"),
        (without("Sec-WebSocket-Key"), "400 Bad Request: No \"Sec-WebSocket-Key\""),
        (without("Sec-WebSocket-Version"), "426 Upgrade Required: "),
        (without("Upgrade"), "426 Upgrade Required: "),
        (without("Connection"), "426 Upgrade Required: "),
        (GOOD.replace("13", "8"), "426 Upgrade Required: "),
        (GOOD.replace("dGhl", "?"), "400 Bad Request: its Sec-WebSocket-Key"),
        (GOOD.replace("GET", "POST"), "405 Method Not Allowed: "),
        (GOOD.replace("HTTP/1.1", "HTTP/1.0"), "505 HTTP Version Not Supported: "),
        (GOOD.replace("HTTP/1.1", "HTTP/2"), "400 Bad Request: "),
        (GOOD.replace("Host: ", "Ho st: "), "400 Bad Request: "),
        ("GET / HTTP/1.1\r\n\r\n".into(), "426 Upgrade Required: "),
        ("SSH-2.0-OpenSSH_9.6\r\n".into(), "400 Bad Request: "),
        ("\x10\x0d\0\x04MQTT".into(), "silence: this is MQTT"),
        ("\x16\x03\x01\x02\0\x01".into(), "silence: this is TLS"),
    ];
    for (request, said) in rows {
        let status = status(request.as_bytes(), &Settings::default());
        assert!(status.starts_with(said), "{status} for {request}");
    }
}

#[test]
fn a_request_has_a_bound() {
    let settings = Settings { request_bytes_max: GOOD.len() + 20, ..Settings::default() };
    let fits = GOOD.replace("Host", "Cookie: 0123456789\r\nHost");
    assert!(fits.len() == settings.request_bytes_max);
    let tight = GOOD.replace("Host", "Cookie: 0123456789a\r\nHost");
    let many = GOOD.replace("Host", &format!("{}Host", "A: b\r\n".repeat(200)));
    let rows = [
        (fits.as_str(), "101 Switching Protocols"),
        (&tight, "431 "),
        (&tight[..settings.request_bytes_max], "431 "),
        (&many, "431 "),
    ];
    for (request, said) in rows {
        let status = status(request.as_bytes(), &settings);
        assert!(status.starts_with(said), "{status} for {said}");
    }
    let many = status(many.as_bytes(), &Settings::default());
    assert!(many.starts_with("400 "), "{many}: more headers than are looked at");
}

#[test]
fn web_pages_of_other_origins_are_turned_away() {
    let rows = [
        ("", "https://example.org", true),
        ("https://example.org", "https://example.org", true),
        ("https://a.example, https://example.org/", "https://EXAMPLE.org", true),
        ("https://example.org", "https://example.org.evil.example", false),
        ("https://example.org", "http://example.org", false),
        ("https://example.org", "null", false),
    ];
    for (allowed, origin, comes_in) in rows {
        let origins = allowed.split(", ").filter(|one| !one.is_empty()).map(Box::from).collect();
        let settings = Settings { origins, ..Settings::default() };
        let request = GOOD.replace("https://example.org", origin);
        let status = status(request.as_bytes(), &settings);
        assert_eq!(status.starts_with("101"), comes_in, "{origin} where {allowed}: {status}");
        assert!(comes_in || status.starts_with("403 Forbidden"), "{status}");
    }
    let settings = Settings { origins: [Box::from("https://a")].into(), ..Settings::default() };
    let no_page = GOOD.replace("Origin: https://example.org\r\n", "");
    assert!(status(no_page.as_bytes(), &settings).starts_with("101"), "no page, no origin");
}

#[test]
fn a_proxy_that_is_believed_says_where_the_client_is() {
    let settings =
        Settings { proxies: "127.0.0.1, 10.0.0.0/8".parse().expect("two"), ..Settings::default() };
    let rows = [
        ("192.0.2.1", Some("192.0.2.1:0")),
        ("198.51.100.9, 192.0.2.1, 10.0.0.7", Some("192.0.2.1:0")),
        ("198.51.100.9, 10.0.0.7, 10.0.0.8", Some("198.51.100.9:0")),
        ("192.0.2.1\r\nX-Forwarded-For: 2001:db8::1", Some("[2001:db8::1]:0")),
        ("192.0.2.1:40000", Some("192.0.2.1:0")),
        ("192.0.2.1, unknown", None),
        ("unknown, 10.0.0.7", Some("10.0.0.7:0")),
        ("", None),
    ];
    for (forwarded, expected) in rows {
        let request = GOOD.replace("Host", &format!("X-Forwarded-For: {forwarded}\r\nHost"));
        let expected = expected.map(|address| address.parse().expect("an address"));
        for (peer, believed) in [([127, 0, 0, 1], true), ([192, 0, 2, 99], false)] {
            let peer = PeerAddress::Ip((peer, 40_000).into());
            let answer = answer(request.as_bytes(), &settings, peer);
            let Answer::Welcome { client, .. } = answer else { panic!("{forwarded}") };
            assert_eq!(client, expected.filter(|_| believed), "{forwarded} from {peer:?}");
        }
    }
}

/// Neither a panic nor a wait beyond the bound, whatever comes.
#[test]
fn random_requests_end_in_a_verdict() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let settings = Settings { request_bytes_max: 1024, ..Settings::default() };
    for _ in 0..5000 {
        let mut bytes = GOOD.as_bytes().to_vec();
        for _ in 0..=random() % 4 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.resize(settings.request_bytes_max, b'x');
        assert!(!matches!(decide(&bytes, &settings), Answer::Wait));
    }
}
