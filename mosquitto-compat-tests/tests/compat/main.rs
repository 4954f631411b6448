//! What users of mosquitto's own clients and of rumqttc see when the broker is Martlet. Scenarios
//! that say nothing about Martlet alone also run against Debian's mosquitto, as a control.

#![expect(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod access;
mod bridges;
mod clients;
mod conf;
mod crowd;
mod home_assistant;
mod logs;
mod payloads;
mod privileges;
mod process;
mod publish;
mod replay;
mod request;
mod retained;
mod rumqtt;
mod sessions;
mod sys;
mod tls;
mod versions;
mod wills;
