//! Servers that refuse, break off or talk nonsense: the broker goes on, and says what was wrong.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::thread;

use martlet_engine::behind::QUESTION;

use crate::broker::{Broker, PATIENCE};
use crate::raw::client::Client;
use crate::talk::{expect_next, message, publish, subscriber};

/// A server that answers every connection's first bytes with these, and then closes or waits.
fn cheat(answer: &'static [u8], closes: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream, answer, closes));
        }
    });
    port
}

fn serve(mut stream: TcpStream, answer: &[u8], closes: bool) {
    let mut bytes = [0; 4096];
    let _ = stream.read(&mut bytes);
    let _ = stream.write_all(answer);
    while !closes && stream.read(&mut bytes).is_ok_and(|len| len > 0) {}
}

#[test]
fn whatever_a_server_does_the_others_are_undisturbed() {
    let rows: &[(&[u8], bool, &str)] = &[
        (b"\x20\x02\x00\x05", false, "Connection Refused: not authorised"),
        (b"\x20\x02\x00\x04", true, "Connection Refused: bad user name or password"),
        (b"", true, "the other broker closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", true, "the other broker sent"),
        (b"\xFF\xFF\xFF\xFF\xFF\xFF", false, "the other broker sent no packet"),
        (b"\xD0\x00", false, "the other broker sent another packet than CONNACK first"),
        (b"\x20\x02\x00\x00\x20\x02\x00\x00", false, "the other broker sent a second CONNACK"),
        (
            b"\x20\x02\x00\x00\x90\x03\x00\x01\x00",
            false,
            "the other broker sent SUBACK for nothing",
        ),
        (
            b"\x20\x02\x00\x00\xC0\x00",
            false,
            "the other broker sent a packet that only clients send",
        ),
        // A PUBLISH of 200 MB
        (b"\x20\x02\x00\x00\x30\x80\x84\xAF\x5F\x00", false, "the other broker sent no packet"),
        // PUBACK for nothing does no harm; then it closes
        (b"\x20\x02\x00\x00\x40\x02\x00\x09", true, "the other broker closed the connection"),
    ];
    for (answer, closes, words) in rows {
        let broker = Broker::start(&format!(
            "[[bridge]]\nname = 'b'\naddresses = ['127.0.0.1:{}']\ntopics = ['# both 2']\n\
             restart = '1'\ntry_private = false\n",
            cheat(answer, *closes)
        ));
        broker.said().wait_for(words, 1);
        let mut hears = subscriber(broker.address(), "h", "t", 1);
        let mut says = Client::connect(broker.address(), "p");
        publish(&mut says, message("t", "m", 2));
        expect_next(&mut hears, "t m q1");
        // It tries again.
        broker.said().wait_for(words, 2);
    }
}

#[test]
fn a_server_that_wants_no_private_level_is_spoken_to_without() {
    // It refuses CONNECTs with bit 7 of the level, and takes the others.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                let len = stream.read(&mut bytes).unwrap();
                let level = bytes[..len][8];
                let answer: &[u8] =
                    if level == 0x04 { b"\x20\x02\x00\x00" } else { b"\x20\x02\x00\x01" };
                let _ = stream.write_all(answer);
                while level == 4 && stream.read(&mut bytes).is_ok_and(|len| len > 0) {}
            });
        }
    });
    let broker = Broker::start(&format!(
        "[[bridge]]\nname = 'b'\naddresses = ['127.0.0.1:{port}']\ntopics = ['t out']\n\
         restart = '1'\nattempt_unsubscribe = false\n"
    ));
    broker.said().wait_for("Connection Refused: unacceptable protocol version", 1);
    broker.said().wait_for("Bridge b is connected to", 1);
}

#[test]
fn who_closes_on_the_question_is_asked_again_but_not_each_time() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, hears) = sync_channel(10);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes);
            let _ = stream.write_all(b"\x20\x02\x00\x00");
            let len = stream.read(&mut bytes).unwrap_or(0);
            let _ = asked.send(String::from_utf8_lossy(&bytes[..len]).contains(QUESTION));
        }
    });
    let _broker = Broker::start(&format!(
        "[[bridge]]\nname = 'b'\naddresses = ['127.0.0.1:{port}']\ntopics = ['t both']\n\
         restart = '1'\nnotifications = false\nattempt_unsubscribe = false\n"
    ));
    // It may have been cut off by chance the first time, so that it would be silly to give up.
    let questions = [0; 4].map(|_| hears.recv_timeout(PATIENCE).unwrap());
    assert_eq!(questions, [true, true, false, true]);
}
