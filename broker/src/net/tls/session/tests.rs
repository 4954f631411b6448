use std::net::TcpListener as StdListener;
use std::net::TcpStream as StdStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::net::TcpStream;

use super::*;
use crate::net::tls::settings::Settings;

type Client = StreamOwned<ClientConnection, StdStream>;

/// A server's terms, and a client's that go with them.
fn terms(version: &'static rustls::SupportedProtocolVersion) -> (Terms, Arc<ClientConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a folder of ours");
        path
    };
    let (cert_file, key_file) = (file("crt", cert.pem()), file("key", signing_key.serialize_pem()));
    let terms = Terms::load(&Settings::new(cert_file, key_file), crate::net::tls::now());
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version of the provider")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (terms.expect("they go together"), Arc::new(client))
}

/// Both ends of a loopback connection whose buffers are as small as the system lets them be.
fn pair() -> (TcpStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
    let client = StdStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    client.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    let (server, _) = listener.accept().expect("it came");
    server.set_nonblocking(true).expect("a socket");
    for (small, socket) in [(true, socket2::SockRef::from(&server)), (false, (&client).into())] {
        if small {
            socket.set_send_buffer_size(4096).expect("a socket");
        } else {
            socket.set_recv_buffer_size(4096).expect("a socket");
        }
    }
    (TcpStream::from_std(server).expect("a runtime"), client)
}

/// A session, while `client` does its part in a thread of its own.
async fn session<T: Send + 'static>(
    version: &'static rustls::SupportedProtocolVersion,
    client: impl FnOnce(Client) -> T + Send + 'static,
) -> (Session, JoinHandle<T>) {
    let (server_terms, client_terms) = terms(version);
    let (server, socket) = pair();
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(client_terms, name).expect("good terms");
    let client = std::thread::spawn(move || client(StreamOwned::new(tls, socket)));
    let accepted = accept(Socket::Tcp(server), &server_terms).await;
    (accepted.expect("they understand each other"), client)
}

/// Writes as connections do: the same bytes again after `WouldBlock`. Says how often that came.
async fn write_all(session: &Session, mut bytes: &[u8]) -> usize {
    let mut blocked = 0;
    while !bytes.is_empty() {
        let (first, second) = bytes.split_at(bytes.len() / 3);
        match session.try_write(&[IoSlice::new(first), IoSlice::new(second)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                blocked += 1;
                poll_fn(|cx| session.poll_writable(cx)).await.expect("the peer is there");
            }
        }
    }
    blocked
}

async fn read_some(session: &Session, bytes: &mut [u8]) -> usize {
    poll_fn(|cx| session.poll_read(cx, bytes)).await.expect("the peer is there")
}

/// Bytes that are nowhere the same as a little further on.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[tokio::test]
async fn a_slow_reader_gets_every_byte_once() {
    for version in VERSIONS {
        let sent = noise(300_000);
        let expected = sent.clone();
        let (session, client) = session(version, move |mut client| {
            let mut got = vec![0; expected.len()];
            for piece in got.chunks_mut(1500) {
                client.read_exact(piece).expect("the server sends");
            }
            assert!(got == expected, "other bytes came");
            assert_eq!(client.read(&mut [0]).expect("the server takes leave"), 0);
        })
        .await;
        assert!(write_all(&session, &sent).await > 3, "the socket was full several times");
        session.shut_down();
        tokio::task::spawn_blocking(|| client.join()).await.expect("no panic").expect("all came");
    }
}

#[tokio::test]
async fn buffers_of_any_size_are_filled_with_every_byte_once() {
    for version in VERSIONS {
        for size in [1, 100, 512, 4096, 20_000, 64 * 1024, 200_000] {
            let sent = noise(if size == 1 { 40_000 } else { 400_000 });
            let (expected, last) = (sent.clone(), size);
            let (session, client) = session(version, move |mut client| {
                // Records of all sizes up to the largest.
                for piece in sent.chunks(16 * 1024 - last % 7) {
                    client.write_all(piece).expect("the server reads");
                }
                client.conn.send_close_notify();
                client.flush().expect("the server reads");
                client
            })
            .await;
            let (mut got, mut buffer) = (Vec::new(), vec![0; size]);
            loop {
                match read_some(&session, &mut buffer).await {
                    0 => break,
                    len => got.extend_from_slice(&buffer[..len]),
                }
            }
            assert!(got == expected, "with buffers of {size}: other bytes came");
            assert_eq!(read_some(&session, &mut buffer).await, 0, "it stays the end");
            drop(client.join().expect("all went"));
        }
    }
}

#[tokio::test]
async fn both_directions_go_on_while_each_is_full() {
    for version in VERSIONS {
        let expected = noise(200_000);
        let (session, client) = session(version, move |mut client| {
            let mut got = vec![0; expected.len()];
            for (out, back) in expected.chunks(5000).zip(got.chunks_mut(5000)) {
                client.write_all(out).expect("the server reads");
                client.read_exact(back).expect("the server answers");
            }
            assert!(got == expected, "other bytes came back");
            // New keys, and the server has to answer with its own.
            if client.conn.refresh_traffic_keys().is_ok() {
                client.write_all(b"new keys").expect("the server reads");
                client.read_exact(&mut got[..8]).expect("the server answers");
                assert_eq!(&got[..8], b"new keys");
            }
        })
        .await;
        let mut buffer = vec![0; 10_000];
        loop {
            let len = read_some(&session, &mut buffer).await;
            if len == 0 {
                break;
            }
            write_all(&session, &buffer[..len]).await;
        }
        client.join().expect("all came back");
    }
}

/// Whoever speaks no TLS, or goes away.
#[tokio::test]
async fn those_who_speak_no_tls_are_told_apart() {
    let rows: &[(&[u8], &str)] = &[
        (
            b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c",
            "this is MQTT without TLS, and the port takes TLS",
        ),
        (
            b"GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n",
            "this is HTTP or WebSocket without TLS, and the",
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "this is no TLS, and the port takes TLS"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "TLS: "),
        (b"", "gone"),
    ];
    for (bytes, words) in rows {
        let (terms, _) = terms(&rustls::version::TLS13);
        let (server, mut client) = pair();
        client.write_all(bytes).expect("it takes bytes");
        client.shutdown(std::net::Shutdown::Write).expect("a socket");
        let said = match accept(Socket::Tcp(server), &terms).await {
            Ok(_) => panic!("{bytes:?} is a handshake"),
            Err(refused) => match refused.failure {
                Failure::Tls(broken) => broken.to_string(),
                Failure::Gone => "gone".to_owned(),
                Failure::Socket(error) => panic!("{bytes:?}: {error}"),
            },
        };
        assert!(said.starts_with(words), "{bytes:?}: {said}");
    }
}
