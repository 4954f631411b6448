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
//! 5. `encode(decode(bytes)) == bytes` for every legal packet in its shortest form.
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

mod reader;
mod rules;
mod sink;
mod text;
