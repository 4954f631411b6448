//! A wire between a device and its broker, on which bytes come one at a time and may stop in the
//! middle of anything.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Stands in front of a port of this machine.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    /// After so many more bytes to the device, no more come before it has said something.
    closes_after: Option<usize>,
    /// How often the device has said something.
    said: usize,
    /// How often it was waited for, and came.
    passed: usize,
}

impl Proxy {
    pub(crate) fn new(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for device in listener.incoming().map_while(Result::ok) {
                let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                device.set_nodelay(true).unwrap();
                let ends = [device.try_clone().unwrap(), broker.try_clone().unwrap()];
                let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
                let [device_too, broker_too] = ends;
                thread::spawn(move || up.carry_up(device, broker));
                thread::spawn(move || down.carry_down(broker_too, device_too));
            }
        });
        Self { address, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// What comes next to the device stops after so many bytes, until it says something by itself.
    pub(crate) fn close_gate_after(&self, bytes: usize) {
        self.state.gate.lock().unwrap().closes_after = Some(bytes);
    }

    /// How often something stopped and went on.
    pub(crate) fn passed(&self) -> usize {
        self.state.gate.lock().unwrap().passed
    }
}

impl State {
    fn carry_up(&self, mut device: TcpStream, mut broker: TcpStream) {
        let mut bytes = [0; 4_096];
        while let Ok(len) = device.read(&mut bytes) {
            if len == 0 || broker.write_all(&bytes[..len]).is_err() {
                break;
            }
            self.gate.lock().unwrap().said += 1;
            self.changed.notify_all();
        }
        let _ = broker.shutdown(std::net::Shutdown::Both);
        let _ = device.shutdown(std::net::Shutdown::Both);
    }

    fn carry_down(&self, mut broker: TcpStream, mut device: TcpStream) {
        let mut byte = [0];
        while broker.read(&mut byte).is_ok_and(|len| len > 0) {
            self.wait();
            if device.write_all(&byte).is_err() {
                break;
            }
        }
        let _ = device.shutdown(std::net::Shutdown::Both);
    }

    fn wait(&self) {
        let mut gate = self.gate.lock().unwrap();
        match &mut gate.closes_after {
            None => {}
            Some(0) => {
                let said = gate.said;
                let mut gate = self.changed.wait_while(gate, |gate| gate.said == said).unwrap();
                gate.closes_after = None;
                gate.passed += 1;
            }
            Some(left) => *left -= 1,
        }
    }
}
