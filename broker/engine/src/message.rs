//! An application message: immutable, shared, one allocation.

use martlet_codec::packet::Publish;
use martlet_codec::reason::QoS;
use martlet_codec::topic::TopicName;
use triomphe::ThinArc;

/// An application message: topic, properties and payload side by side in one allocation, shared by
/// all who keep it. A clone is an atomic increment; the handle is one pointer.
#[derive(Clone)]
pub struct Message(ThinArc<Header, u8>);

#[derive(Clone, Copy)]
struct Header {
    /// Where the topic begins in the bytes, and where it ends.
    topic_start: u8,
    qos: QoS,
    retain: bool,
    topic_len: u16,
    /// Where the payload begins.
    payload_start: u32,
}

impl Message {
    /// Makes the message of a PUBLISH out of the packet's `body`: everything behind the fixed
    /// header. One allocation, one copy; nothing of the read buffer stays pinned (I8).
    ///
    /// `publish` must have been decoded from this very body; a topic alias must have been resolved
    /// by the caller (`topic` is `Some`).
    pub fn from_publish(publish: &Publish<'_>, body: &[u8]) -> Self {
        let topic_len = u16::from_be_bytes([body[0], body[1]]);
        let payload_start = body.len() - publish.payload.len();
        debug_assert_eq!(publish.topic.map(|t| t.as_bytes().len()), Some(usize::from(topic_len)));
        let header = Header {
            topic_start: 2,
            qos: publish.delivery.qos(),
            retain: publish.retain,
            topic_len,
            payload_start: u32::try_from(payload_start).expect("a packet is under 256 MiB"),
        };
        Self(ThinArc::from_header_and_slice(header, body))
    }

    /// Makes a message from its parts (wills, `$SYS`, messages from inside).
    pub fn new(topic: TopicName<'_>, payload: &[u8], qos: QoS, retain: bool) -> Self {
        let topic = topic.as_bytes();
        let header = Header {
            topic_start: 0,
            qos,
            retain,
            topic_len: u16::try_from(topic.len()).expect("a topic name is under 64 KiB"),
            payload_start: u32::try_from(topic.len()).expect("a topic name is under 64 KiB"),
        };
        Self(ThinArc::from_header_and_slice(header, &[topic, payload].concat()))
    }

    /// The topic it was published to.
    pub fn topic(&self) -> TopicName<'_> {
        let header = &self.0.header.header;
        let start = usize::from(header.topic_start);
        TopicName::from_validated(&self.0.slice[start..start + usize::from(header.topic_len)])
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.0.slice[self.0.header.header.payload_start as usize..]
    }

    /// The QoS it was published at.
    pub fn qos(&self) -> QoS {
        self.0.header.header.qos
    }

    /// The RETAIN flag it was published with.
    pub fn retain(&self) -> bool {
        self.0.header.header.retain
    }

    /// Bytes of topic and payload together: what bounds by bytes count.
    pub fn len(&self) -> usize {
        usize::from(self.0.header.header.topic_len) + self.payload().len()
    }

    /// Where it is in memory: the same for all clones, and for no other message while one of them
    /// is there.
    pub(crate) fn address(&self) -> usize {
        self.0.heap_ptr() as usize
    }

    /// Whether topic and payload are empty together (never: a topic has a character).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.topic() == other.topic()
            && self.payload() == other.payload()
            && self.qos() == other.qos()
            && self.retain() == other.retain()
    }
}
impl Eq for Message {}
