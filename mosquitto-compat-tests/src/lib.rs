//! Real brokers under real clients: starts Martlet or Debian's mosquitto on a free loopback port
//! and drives it with `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`.
//!
//! - [`ports`]: port numbers that no two tests share.
//! - [`broker`]: a broker as a child process.
//! - [`martlet`]: where Martlet's binary comes from.
//! - [`tools`]: mosquitto's clients as child processes, read line by line.
//!
//! Nothing here sleeps its way to a verdict: a test waits for a line of output, for the end of a
//! process, or for a message that can only come after what it asks about. Waiting is bounded; a
//! bound that is passed is a failure and never an answer.
#![forbid(unsafe_code)]

pub mod broker;
pub mod martlet;
pub mod ports;
pub mod tools;

/// Makes a test of each function named, once with Martlet and once with Debian's mosquitto (the
/// control: a scenario that mosquitto fails is no scenario). Each function takes `&Broker`.
#[macro_export]
macro_rules! on_both_brokers {
    ($($name:ident),+ $(,)?) => {
        mod martlet {
            $(#[test] fn $name() { super::$name(&$crate::broker::Broker::martlet()); })+
        }
        mod mosquitto {
            $(#[test] fn $name() { super::$name(&$crate::broker::Broker::mosquitto()); })+
        }
    };
}
