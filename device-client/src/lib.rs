//! # martlet-device: an MQTT 3.1.1 client for microcontrollers
//!
//! `no_std`, no allocator, no `unsafe`. [`client::Client`] knows no socket and no clock: bytes go
//! in and out, the time is an argument. Drivers for networks stand around it in [`io`].
//!
//! The contract:
//! 1. What [`publish`](client::Client::publish) accepted at QoS 1 arrives at least once, at QoS 2
//!    exactly once, in order, however often the connection is lost in between, as long as the
//!    broker keeps the session. A broker that has lost it gets everything unsettled once more.
//! 2. A message is acknowledged when the program comes back after having seen all of it. One of QoS
//!    2 is seen whole once, even if the connection was lost while its pieces came.
//! 3. All memory is the caller's ([`settings::Memory`]). Each bound has a name ([`error::Bound`]),
//!    and every message that is lost to one is counted ([`client::Counters`]).
//! 4. With a [`client::storage::Storage`] all this holds across a reset too.
//! 5. It never panics, whatever the broker sends.
//!
//! A whole conversation, with a broker that is a few lines of bytes:
//!
//! ```
//! use martlet_codec::reason::QoS;
//! use martlet_device::client::Client;
//! use martlet_device::event::Event;
//! use martlet_device::settings::{Memory, Publication, Settings, Subscription};
//!
//! let (mut receive, mut outbox) = ([0; 256], [0; 256]);
//! let memory = Memory { receive: &mut receive, outbox: &mut outbox };
//! let wish = Subscription { filter: "lamp/set", qos: QoS::ExactlyOnce };
//! let settings = Settings { subscriptions: &[wish], ..Settings::new("lamp") };
//! let mut client = Client::new(settings, memory)?;
//! let mut out = [0; 64];
//! let now = 0; // milliseconds
//!
//! // Offline, publishing works already.
//! client.publish(&Publication::new("lamp/state", b"on").qos(QoS::AtLeastOnce))?;
//!
//! assert!(client.wants_connection(now));
//! client.attach(now)?; // the network is open
//! let len = client.transmit(now, &mut out);
//! assert_eq!(out[..len], *b"\x10\x10\x00\x04MQTT\x04\x00\x00\x3C\x00\x04lamp");
//!
//! client.receive(now, b"\x20\x02\x00\x00")?; // CONNACK
//! assert_eq!(client.event(), Some(Event::Connected { session_present: false }));
//! let len = client.transmit(now, &mut out);
//! assert_eq!(
//!     out[..len],
//!     *b"\x32\x10\x00\x0Alamp/state\x00\x02on\x82\x0D\x00\x03\x00\x08lamp/set\x02"
//! );
//!
//! client.receive(now, b"\x40\x02\x00\x02\x90\x03\x00\x03\x02")?; // PUBACK, SUBACK
//! while let Some(event) = client.event() {
//!     assert!(matches!(event, Event::Published(_) | Event::Subscribed { .. }));
//! }
//! client.receive(now, b"\x34\x0F\x00\x08lamp/set\x00\x09off")?; // PUBLISH
//! let Some(Event::Message(message)) = client.event() else { panic!("a message") };
//! assert_eq!((message.topic, message.payload), ("lamp/set", &b"off"[..]));
//!
//! let len = client.transmit(now, &mut out); // it was seen, and is acknowledged
//! assert_eq!(out[..len], *b"\x50\x02\x00\x09");
//! # Ok::<(), martlet_device::error::Error>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod client;
pub mod error;
pub mod event;
pub mod io;
pub mod settings;
#[cfg(feature = "tls")]
pub mod tls;

mod outbox;
mod receiver;
