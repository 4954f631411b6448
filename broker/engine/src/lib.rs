//! # martlet-engine: the whole MQTT server as one deterministic machine
//!
//! [`Engine`] knows no socket, no disk, no clock and no task. Its caller (the broker's driver, a
//! unit test, the simulator) gives it one [`Input`] at a time with the time, and takes the
//! [`Effects`]: facts to keep, packets to send, links to close.
//!
//! The contract:
//! 1. One input at a time; effects are appended, never half-made. [`Engine::handle`] cannot fail:
//!    what a peer did wrong becomes a [`Farewell`] with a reason and the id of the rule; what we did
//!    wrong is an assertion.
//! 2. Time is an argument and never goes backward. Nothing sleeps: the caller asks
//!    [`Engine::next_deadline`] and sends [`Input::Due`] when that time has come.
//! 3. Same inputs in the same order give the same effects, byte for byte.
//! 4. All memory is bounded by [`Limits`]; each bound names what happens at the bound, and whoever
//!    loses a message to one finds it counted in [`Counters`].
//! 5. Long work is cut: a retained replay of a million topics is a cursor kept in the session and
//!    advanced as its link reports room.
#![forbid(unsafe_code)]

pub mod change;
pub mod effects;
pub mod input;
pub mod limits;
pub mod message;
