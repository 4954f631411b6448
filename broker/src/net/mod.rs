//! Sockets: listeners, byte streams, and connections that turn bytes into inputs and back.

pub mod address;
mod admission;
mod arrival;
pub mod connection;
pub mod door;
pub mod duplex;
pub mod listener;
pub mod proxy;
mod receive;
mod rights;
pub mod socket;
pub mod stream;
pub mod surplus;
pub mod terms;
pub mod throttle;
pub mod tls;
mod transmit;
pub mod websocket;
mod words;
pub mod workers;
