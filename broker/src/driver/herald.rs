//! Messages of the broker itself, from a thread that may wait.

use std::fmt::Display;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use martlet_engine::input::Input;
use martlet_engine::message::Message;

use crate::driver::Driver;
use crate::driver::link::{Edge, Link};

/// The outer end of a link that only publishes.
struct Herald {
    link: Link,
}

/// Publishes texts at QoS 0 for whoever listens now, each to its topic, and waits until the engine
/// has them, so that one batch waits at the most. Topics and texts are the broker's own: valid.
pub fn publisher(driver: &Arc<Driver>) -> impl Fn(&[(&'static str, &str)]) + Send + Sync + use<> {
    let edge: Arc<dyn Edge> = Arc::new(Herald { link: Link::new(Arc::clone(driver)) });
    move |texts| {
        let mut inputs: Vec<Input> = texts.iter().map(|(topic, text)| said(topic, text)).collect();
        if inputs.is_empty() {
            return;
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        edge.link().submit(&edge, &mut inputs);
        while edge.link().is_waiting() {
            edge.link().outbox().standing(&waker);
            // It may have been handled before it knew whom to wake.
            if edge.link().is_waiting() {
                thread::park();
            }
        }
    }
}

fn said(topic: &'static str, text: &str) -> Input {
    let topic = TopicName::from_validated(topic.as_bytes());
    Input::Publish(Message::new(topic, text.as_bytes(), QoS::AtMostOnce, false))
}

impl Edge for Herald {
    fn link(&self) -> &Link {
        &self.link
    }

    fn send(&self) {}

    fn peer(&self) -> &dyn Display {
        &"the broker itself"
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
