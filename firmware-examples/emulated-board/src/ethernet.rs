//! The Ethernet controller of the LM3S6965: two queues of packets behind a few registers.

use core::task::Context;

use embassy_net_driver::{
    Capabilities, Driver, HardwareAddress, LinkState, RxToken as Receive, TxToken as Transmit,
};
use embassy_sync::waitqueue::AtomicWaker;

/// Registers, as the data sheet names them.
mod mac {
    pub const RECEIVE_CONTROL: usize = 0x4004_8008;
    pub const TRANSMIT_CONTROL: usize = 0x4004_800C;
    pub const DATA: usize = 0x4004_8010;
    pub const ADDRESS_0: usize = 0x4004_8014;
    pub const ADDRESS_1: usize = 0x4004_8018;
    pub const PACKETS: usize = 0x4004_8034;
    pub const TRANSMIT_REQUEST: usize = 0x4004_8038;
}

const RECEIVE_ON: u32 = 1;
/// And padding, and the checksum at the end, and both directions at once.
const TRANSMIT_ON: u32 = 0b1_0111;
const NEW_TRANSMISSION: u32 = 1;

/// Without its checksum.
const FRAME_MAX: usize = 1514;
const HEADER: usize = 14;
const CHECKSUM: usize = 4;

/// Whoever waits for a frame.
static WAITS: AtomicWaker = AtomicWaker::new();

/// The controller, of which there is one.
pub struct Ethernet {
    address: [u8; 6],
}

impl Ethernet {
    /// Starts it, with the address that it was given.
    pub fn start() -> Self {
        let [a, b, c, d] = read(mac::ADDRESS_0).to_le_bytes();
        let [e, f, ..] = read(mac::ADDRESS_1).to_le_bytes();
        write(mac::RECEIVE_CONTROL, RECEIVE_ON);
        write(mac::TRANSMIT_CONTROL, TRANSMIT_ON);
        Self { address: [a, b, c, d, e, f] }
    }
}

/// Wakes whoever waits for a frame if there is one. To be called now and then.
pub fn look() {
    if read(mac::PACKETS) > 0 {
        WAITS.wake();
    }
}

impl Driver for Ethernet {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Room;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Frame, Room)> {
        WAITS.register(context.waker());
        (read(mac::PACKETS) > 0).then_some((Frame, Room))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Room> {
        Some(Room)
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_MAX;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

/// A frame that has come.
pub struct Frame;

impl Receive for Frame {
    /// The first two bytes are the length, with themselves and the checksum.
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, seen_by: F) -> R {
        let mut frame = [0; FRAME_MAX];
        let [l0, l1, f0, f1] = read(mac::DATA).to_le_bytes();
        let whole = usize::from(u16::from_le_bytes([l0, l1]));
        let len = whole.saturating_sub(2 + CHECKSUM).min(FRAME_MAX);
        frame[..2].copy_from_slice(&[f0, f1]);
        for at in (2..whole.saturating_sub(2)).step_by(4) {
            let word = read(mac::DATA).to_le_bytes();
            for (to, from) in frame.iter_mut().skip(at).zip(word) {
                *to = from;
            }
        }
        seen_by(&mut frame[..len])
    }
}

/// Room for a frame that is to go.
pub struct Room;

impl Transmit for Room {
    /// The first two bytes are the length of what stands behind the frame's header.
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, filled_by: F) -> R {
        let mut bytes = [0; 2 + FRAME_MAX];
        let (head, frame) = bytes.split_at_mut(2);
        head.copy_from_slice(&(len.saturating_sub(HEADER) as u16).to_le_bytes());
        let result = filled_by(&mut frame[..len]);
        while read(mac::TRANSMIT_REQUEST) & NEW_TRANSMISSION != 0 {}
        for word in bytes[..2 + len].chunks(4) {
            let mut padded = [0; 4];
            padded[..word.len()].copy_from_slice(word);
            write(mac::DATA, u32::from_le_bytes(padded));
        }
        write(mac::TRANSMIT_REQUEST, NEW_TRANSMISSION);
        result
    }
}

fn read(register: usize) -> u32 {
    // SAFETY: one of `mac`'s, which are mapped, aligned, and nobody's memory.
    unsafe { (register as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { (register as *mut u32).write_volatile(value) }
}
