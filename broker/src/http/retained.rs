//! The retained messages of a filter, for who then follows a stream of the log.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use martlet_engine::effects::OutPacket;
use martlet_engine::filter::Filter;
use martlet_engine::input::InPacket;
use martlet_engine::message::Message;

use crate::http::Shared;
use crate::http::link::Client;
use crate::http::login::Caller;
use crate::http::problem::Problem;
use crate::http::tail::subscribe;

/// A subscription that is heard until what was retained has come: the rest comes from the log.
#[derive(Debug)]
pub(super) struct Retained {
    client: Client,
    heard: VecDeque<OutPacket>,
    /// All that was retained stands in front of the PINGRESP that is waited for.
    is_last: bool,
}

impl Retained {
    /// Subscribes.
    ///
    /// # Errors
    /// When the caller may not subscribe to that.
    pub(super) async fn begin(
        shared: &Shared,
        caller: &Caller,
        filter: Filter,
    ) -> Result<Self, Problem> {
        let (client, heard) = subscribe(shared, caller, filter).await?;
        let mut retained = Self { client, heard: heard.into(), is_last: false };
        retained.ping();
        Ok(retained)
    }

    /// The next one; `None` when there are no more, or the broker ends the link.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        loop {
            while let Some(packet) = self.heard.pop_front() {
                match packet {
                    OutPacket::Publish { message, retain: true, .. } => {
                        return Poll::Ready(Some(message));
                    }
                    OutPacket::PingResp if self.is_last => return Poll::Ready(None),
                    OutPacket::PingResp => self.ping(),
                    _ => {}
                }
            }
            let mut heard = Vec::new();
            if ready!(self.client.poll_hear(cx, &mut heard)).is_err() {
                return Poll::Ready(None);
            }
            self.heard.extend(heard);
        }
    }

    /// The answer comes behind all that is on its way by then.
    fn ping(&mut self) {
        self.is_last = !self.client.is_replaying();
        self.client.say(InPacket::PingReq);
    }
}
