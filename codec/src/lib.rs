//! # martlet-codec: the words and the bytes of MQTT
//!
//! Control packets of MQTT 3.1 (`MQIsdp`), 3.1.1 and 5.0, for the broker and for the device alike:
//! `no_std`, no allocation, no `unsafe`, no dependency.
//!
//! **Words** are types that cannot be wrong: a [`ids::PacketId`] is never zero, a
//! [`topic::TopicName`] holds no wildcard, a [`topic::TopicFilter`] follows the wildcard rules.
//! **Bytes** become a [`packet::Packet`] that borrows from the input ([`decode::decode`]), and back
//! ([`encode::encode`]).
//!
//! The contract:
//! 1. `decode` is strict. What it returns obeys every rule that can be checked on one packet alone.
//! 2. It never reads past the packet, never allocates, never panics, whatever the bytes.
//! 3. Limits are arguments; there are no globals.
//! 4. An error carries the MQTT 5 reason code to answer and the id of the rule that was broken.
//! 5. `encode(decode(bytes)) == bytes` for every legal packet in its shortest form. `encode` writes
//!    nothing that `decode` would refuse.
//!
//! Not here: what needs more than one packet (which packets a client may send and when, Packet
//! Identifiers in use, topic aliases), and whether a payload that says it is UTF-8 is so.
//!
//! ```
//! use martlet_codec::decode::{DecodeLimits, Decoded, decode};
//! use martlet_codec::encode::encode;
//! use martlet_codec::packet::{Ack, Delivery, Packet};
//! use martlet_codec::reason::ProtocolVersion;
//!
//! let limits = DecodeLimits { packet_size_max: 1 << 20, topic_levels_max: 200 };
//! let received = b"\x32\x08\x00\x03a/b\x00\x01!\x00\x00";
//! let mut answer = [0; 4];
//!
//! match decode(received, ProtocolVersion::V311, &limits) {
//!     Ok(Decoded::Packet { packet: Packet::Publish(publish), len, .. }) => {
//!         assert_eq!((publish.topic.unwrap().as_str(), publish.payload), ("a/b", &b"!"[..]));
//!         assert_eq!(len, 10); // The next packet begins here, and is not all there.
//!         let Delivery::AtLeastOnce { id, .. } = publish.delivery else { panic!("QoS 1") };
//!         encode(&Packet::PubAck(Ack::new(id)), ProtocolVersion::V311, &mut answer)?;
//!     }
//!     Ok(other) => panic!("{other:?}"),
//!     Err(error) => panic!("close the connection: {error}"),
//! }
//! assert_eq!(answer, *b"\x40\x02\x00\x01");
//! # Ok::<(), martlet_codec::encode::EncodeError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod decode;
pub mod encode;
pub mod ids;
pub mod packet;
pub mod payload;
pub mod properties;
pub mod reason;
pub mod topic;
pub mod v311;

mod reader;
mod rules;
mod sink;
mod text;
