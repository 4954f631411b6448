//! Sockets: listeners, byte streams, and connections that turn bytes into inputs and back.

mod admission;
pub mod connection;
pub mod door;
pub mod listener;
mod receive;
pub mod stream;
mod transmit;
mod words;
