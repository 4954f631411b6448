//! Sockets: listeners, byte streams, and connections that turn bytes into inputs and back.

mod admission;
mod arrival;
pub mod connection;
pub mod door;
pub mod listener;
mod receive;
pub mod socket;
pub mod stream;
pub mod tls;
mod transmit;
mod words;
