//! `mosquitto_rr`: a request and its response.

use mosquitto_compat_tests::broker::Broker;
use mosquitto_compat_tests::on_both_brokers;
use mosquitto_compat_tests::tools::{Running, publish, subscribe, tool};

on_both_brokers!(a_request_finds_its_response, a_request_without_response_times_out);

fn a_request_finds_its_response(broker: &Broker) {
    for qos in ["0", "1", "2"] {
        let mut server = subscribe(broker, &["-q", qos, "-t", "request"]);
        let mut command = tool("mosquitto_rr", broker);
        command.args(["-V", "mqttv311", "-q", qos, "-t", "request", "-e", "response"]);
        let client = Running::start(command.args(["-m", "question", "-W", "50"]));
        assert_eq!(server.message().text(), "question");
        publish(broker, &["-q", qos, "-t", "response", "-m", "answer"]);
        let finished = client.finish();
        assert!(finished.status.success());
        assert_eq!(finished.lines, ["answer"]);
    }
}

fn a_request_without_response_times_out(broker: &Broker) {
    let mut command = tool("mosquitto_rr", broker);
    command.args(["-V", "mqttv311", "-t", "request", "-e", "response", "-m", "x", "-W", "1"]);
    assert_eq!(Running::start(&mut command).finish().status.code(), Some(27));
}
