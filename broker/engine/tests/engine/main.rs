//! The engine told and asked as its driver does it: inputs in, effects out.
//!
//! Every step of every test also checks the facts: what the changes add up to is what the engine
//! holds (see [`world`]).

mod acknowledgements;
mod bridges;
mod connecting;
mod deliveries;
mod history;
mod limits;
mod packets;
mod permits;
mod publishing;
mod random;
mod recording;
mod replays;
mod restarts;
mod shares;
mod subscribing;
mod sys_topics;
mod wills;
mod world;
