//! The client against scripted brokers, against Martlet's engine, and against bytes.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

mod bytes;
#[path = "../../../broker/tests/machine/mod.rs"]
mod machine;
mod messages;
mod simulation;
mod states;
mod support;
