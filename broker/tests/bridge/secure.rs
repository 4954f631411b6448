//! TLS between brokers, with certificates on both sides.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};

use crate::authority::{Authority, Folder, device, server};
use crate::broker::Broker;
use crate::raw::client::Client;
use crate::talk::{expect_next, message, publish, subscriber, wait_for_state};

/// Files of an authority, a server and a device; and a listener that asks for certificates.
struct House {
    folder: Folder,
    listener: String,
}

impl House {
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new("ours"));
        folder.file("ca.crt", &authority.pem());
        folder.file("other.crt", &Authority::new("another").pem());
        for (name, identity) in [
            ("server", authority.issue(&server())),
            (
                "stranger",
                authority.issue(&crate::authority::Subject {
                    names: vec!["elsewhere.example"],
                    ..server()
                }),
            ),
            ("device", authority.issue(&device("gateway-7"))),
        ] {
            folder.file(&format!("{name}.crt"), &identity.pem);
            folder.file(&format!("{name}.key"), &identity.key_pem);
        }
        let listener = Self::listens(&folder, "server");
        Self { folder, listener }
    }

    fn listens(folder: &Folder, name: &str) -> String {
        let path = folder.path().display();
        format!(
            "[[listener]]\naddress = '127.0.0.1:0'\ncertfile = '{path}/{name}.crt'\n\
             keyfile = '{path}/{name}.key'\ncafile = '{path}/ca.crt'\n\
             client_certificates = 'required'\nuse_identity_as_username = true\n"
        )
    }

    /// A bridge there, with these lines of TLS in which `@` is the folder.
    fn bridge(&self, far: &Broker, tls: &str) -> Broker {
        let path = self.folder.path().display().to_string();
        Broker::start(&format!(
            "[[bridge]]\nname = 'b'\nremote_client_id = 'gateway'\nrestart = '1'\n\
             addresses = ['localhost:{}']\ntopics = ['# both 2']\n{}\n",
            far.last_address().port(),
            tls.replace('@', &path)
        ))
    }
}

#[test]
fn messages_cross_between_brokers_that_prove_who_they_are() {
    let house = House::new();
    let far = Broker::start(&house.listener);
    for version in ["1.2", "1.3"] {
        let near = house.bridge(
            &far,
            &format!(
                "cafile = '@/ca.crt'\ncertfile = '@/device.crt'\nkeyfile = '@/device.key'\n\
             tls_version = '{version}'"
            ),
        );
        wait_for_state(near.address(), "gateway", "1");
        far.said().wait_for("as gateway (p4, c0, k60, u'gateway-7')", 1);
        let mut at_far = subscriber(far.address(), "far", "#", 2);
        let mut at_near = subscriber(near.address(), "near", "#", 2);
        let large = "x".repeat(300_000);
        for (address, topic) in [(near.address(), "out"), (far.address(), "in")] {
            publish(&mut Client::connect(address, "p"), message(topic, &large, 2));
            for client in [&mut at_far, &mut at_near] {
                expect_next(client, &format!("{topic} {large} q2"));
            }
        }
    }
}

#[test]
fn whoever_cannot_prove_it_gets_nothing() {
    let house = House::new();
    let far = Broker::start(&house.listener);
    let rows = [
        (
            "cafile = '@/other.crt'\ncertfile = '@/device.crt'\nkeyfile = '@/device.key'",
            "UnknownIssuer",
        ),
        ("cafile = '@/ca.crt'", "CertificateRequired"),
    ];
    for (tls, words) in rows {
        let near = house.bridge(&far, tls);
        near.said().wait_for(words, 2);
        assert!(!near.said().all().contains("is connected"));
    }
}

#[test]
fn a_certificate_for_another_name_is_taken_by_whoever_says_so() {
    let house = House::new();
    let far = Broker::start(&House::listens(&house.folder, "stranger"));
    let tls = "cafile = '@/ca.crt'\ncertfile = '@/device.crt'\nkeyfile = '@/device.key'\n";
    let near = house.bridge(&far, tls);
    near.said().wait_for("not valid for name", 2);
    let near = house.bridge(&far, &format!("{tls}insecure = true\n"));
    wait_for_state(near.address(), "gateway", "1");
    // Any name is not any signer.
    let near =
        house.bridge(&far, &format!("{}insecure = true\n", tls.replace("ca.crt", "other.crt")));
    near.said().wait_for("UnknownIssuer", 1);
}

#[test]
fn the_protocol_that_is_to_be_spoken_over_tls_is_named() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let folder = Folder::new();
    folder.file("ca.crt", &Authority::new("ours").pem());
    let _near = Broker::start(&format!(
        "[[bridge]]\nname = 'b'\naddresses = ['localhost:{}']\ntopics = ['# out']\n\
         cafile = '{}/ca.crt'\nalpn = 'x-amzn-mqtt-ca'\nbind = '127.0.0.1'\n",
        listener.local_addr().unwrap().port(),
        folder.path().display()
    ));
    let (mut stream, _) = listener.accept().unwrap();
    let mut hello = vec![0; 4096];
    let len = stream.read(&mut hello).unwrap();
    // RFC 7301: the extension, the length of the list, the length of the name.
    let named = b"\x00\x10\x00\x11\x00\x0F\x0Ex-amzn-mqtt-ca";
    assert!(hello[..len].windows(named.len()).any(|bytes| bytes == named));
}
