//! What a reader may have of a stream.

use std::sync::Arc;

use martlet_codec::topic::TopicName;
use martlet_engine::permit::{Permission, Permit};

/// What a reader may have: by default everything.
#[derive(Clone, Debug, Default)]
pub struct Rights(Option<Arc<Permitted>>);

/// Who reads, and by which permit.
#[derive(Debug)]
struct Permitted {
    client_id: Box<str>,
    permit: Arc<dyn Permit>,
}

impl Rights {
    /// Those of a client with this permit: as it would receive messages.
    pub fn new(client_id: Box<str>, permit: Permission) -> Self {
        Self(permit.map(|permit| Arc::new(Permitted { client_id, permit })))
    }

    /// Whether it may have what was published there.
    pub(super) fn may_read(&self, topic: TopicName<'_>) -> bool {
        let Some(Permitted { client_id, permit }) = self.0.as_deref() else { return true };
        permit.may_receive(client_id, topic)
    }

    /// Whether it may have everything, and nothing need be asked.
    pub(super) fn are_all(&self) -> bool {
        self.0.is_none()
    }
}
