//! # Martlet, the broker
//!
//! The map of the house, from the ground up:
//!
//! - [`clock`]: the only reader of the clock.
//! - [`access`]: who may; pure decisions.
//! - `martlet_engine`, a crate of its own: the whole MQTT server as one deterministic machine.
//! - [`store`]: keeps the facts that the engine states.
//! - [`telemetry`]: the log of what is recorded, and how it is read.
//! - [`driver`]: runs the engine, hands its facts to the store and its packets to the links.
//! - [`net`]: sockets; bytes to packets and back.
//! - [`historian`]: reads the log for clients that subscribe to its history.
//! - [`http`]: the window: HTTP for people, scripts and whoever watches.
//! - [`inquiry`]: asks services over HTTP who may.
//! - [`server`]: builds every part, runs them, stops them in order.
//! - [`config`]: what the operator wrote, from every source, checked and resolved.
//! - [`machine`], [`signals`], [`logging`]: what the system allows, asks and is told.
//! - [`daemon`], [`privileges`], [`supervisor`]: the broker in the background, who it is, and who
//!   is told of it.
//! - [`service`]: one run of the broker, from its configuration to its end.
//! - [`cli`]: the command line.
#![forbid(unsafe_code)]

pub mod access;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod driver;
pub mod historian;
pub mod http;
pub mod inquiry;
pub mod logging;
pub mod machine;
pub mod net;
pub mod privileges;
pub mod server;
pub mod service;
pub mod signals;
pub mod store;
pub mod supervisor;
pub mod telemetry;
