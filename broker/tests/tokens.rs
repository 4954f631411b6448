//! JSON Web Tokens over a socket: who comes in, what it may do, and until when.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod raw;
mod running;

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use martlet::access::jwt::{self, Expiry, Place, Secret};
use martlet::access::{self, Policy};
use martlet::clock;
use ring::hmac;

use raw::client::Client;
use raw::{Connect, Id, Packet, Publish};
use running::Running;

const SECRET: &[u8] = b"a secret of the tests, which no broker anywhere has";

/// A broker that takes these tokens and nobody else.
fn broker(place: Place) -> Running {
    let tokens = jwt::Settings {
        secret: Some(Secret(SECRET.into())),
        secret_file: None,
        key_file: None,
        place,
        user_claim: "sub".into(),
        publish_claim: "publish".into(),
        subscribe_claim: "subscribe".into(),
        issuer: None,
        audience: None,
        leeway_s: 0,
        expiry: Expiry::Close,
    };
    let policy = access::Settings { tokens: Some(tokens), ..access::Settings::default() };
    let policy = Arc::new(Policy::load(&policy).expect("there are no files"));
    let mut settings = running::settings();
    settings.listeners[0].1 = policy;
    Running::start(settings)
}

/// A token with these claims, signed.
fn token(claims: &str) -> String {
    let header = Base64UrlUnpadded::encode_string(br#"{"alg":"HS256"}"#);
    let signed = format!("{header}.{}", Base64UrlUnpadded::encode_string(claims.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), signed.as_bytes());
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(tag.as_ref()))
}

fn connect(client_id: &str, user: &str, password: &str) -> Connect {
    let (user, password) = (Some(user.to_owned()), Some(password.to_owned()));
    Connect { user, password, ..Connect::new(client_id) }
}

#[test]
fn a_token_says_who_its_bearer_is_and_what_it_may_do() {
    let broker = broker(Place::Password);
    let all = token(r##"{"sub":"root","subscribe":"#"}"##);
    let mut listener = Client::connect_as(broker.address(), connect("l", "x", &all));
    listener.send(&Packet::Subscribe { id: Id::Number(1), filters: vec![("#".to_owned(), 0)] });
    listener.expect("suback 1 0");
    let own = token(r#"{"sub":"ann","publish":"from/%c/%u"}"#);
    let mut client = Client::connect_as(broker.address(), connect("c", "somebody", &own));
    for topic in ["from/c/somebody", "from/d/ann", "other", "from/c/ann"] {
        let (topic, payload) = (topic.to_owned(), b"x".to_vec());
        let publish = Publish { topic, payload, qos: 1, id: Id::Number(7), ..Publish::default() };
        client.send(&Packet::Publish(publish));
        client.expect("puback 7");
    }
    let heard = listener.expect_packet().to_string();
    assert!(heard.contains("from/c/ann"), "nothing else came before: {heard}");
    assert_eq!(broker.log().with("c1, k0, u'ann')").len(), 1, "{:?}", broker.log().lines());
}

#[test]
fn a_bad_token_is_refused_and_stands_in_no_log() {
    let broker = broker(Place::UserName);
    let good = token(r#"{"sub":"ann"}"#);
    drop(Client::connect_as(broker.address(), connect("c", &good, "")));
    let forged = good[..good.len() - 4].to_owned() + "AAAA";
    let expired = token(r#"{"sub":"ann","exp":1}"#);
    let rows = [
        (&*forged, "the signature of the token is wrong"),
        (&*expired, "the token has expired"),
        ("ann", "unknown user"),
    ];
    for (user, reason) in rows {
        let mut client = Client::open(broker.address());
        client.send(&Packet::Connect(Box::new(connect("c", user, "x"))));
        client.expect("connack 5");
        client.expect_closed();
        let said = broker.log().with(&format!("refused: not authorised, {reason}."));
        assert_eq!(said.len(), 1, "{reason}: {:?}", broker.log().lines());
        assert_eq!(said[0].contains("(u'ann')"), user == "ann", "{said:?}");
    }
    assert!(broker.log().so_far("eyJ").is_empty(), "{:?}", broker.log().lines());
}

#[test]
fn who_came_with_a_token_goes_when_it_ends() {
    let broker = broker(Place::Password);
    let ends = token(&format!(r#"{{"sub":"ann","exp":{}}}"#, clock::wall_s() + 2));
    let stays = token(&format!(r#"{{"sub":"bob","exp":{}}}"#, clock::wall_s() + 3600));
    let mut short = Client::connect_as(broker.address(), connect("short", "x", &ends));
    let mut long = Client::connect_as(broker.address(), connect("long", "x", &stays));
    short.expect_closed();
    long.ping();
    assert_eq!(broker.log().with("its token has expired").len(), 1, "{:?}", broker.log().lines());
}
