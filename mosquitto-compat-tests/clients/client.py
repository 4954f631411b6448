"""paho-mqtt against a broker: client.py tcp|websockets PORT

Messages of every QoS and size, on MQTT 3.1 and 3.1.1, sent and received by one client. Prints "well".
"""

import queue
import sys

import paho.mqtt.client as mqtt

PATIENCE_S = 60
TRANSPORT, PORT = sys.argv[1], int(sys.argv[2])


def converse(protocol):
    got, granted = queue.Queue(), queue.Queue()
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, f"paho-{TRANSPORT}-{protocol}", True,
        protocol=protocol, transport=TRANSPORT,
    )
    if TRANSPORT == "websockets":
        client.ws_set_options(path="/mqtt")
    client.on_message = lambda _client, _userdata, message: got.put(message)
    client.on_subscribe = lambda _c, _u, _mid, codes, _properties: granted.put(codes)
    client.will_set("paho/will", "gone", qos=1)
    client.connect("127.0.0.1", PORT, keepalive=30)
    client.loop_start()
    client.subscribe([("paho/+", 2), ("other/#", 1)])
    codes = granted.get(timeout=PATIENCE_S)
    assert [code.value for code in codes] == [2, 1], codes
    for qos in (0, 1, 2):
        for size in (0, 1, 126, 70_000, 1_000_000):
            payload = bytes(at * 31 % 251 for at in range(size))
            client.publish(f"paho/{qos}", payload, qos=qos).wait_for_publish(PATIENCE_S)
            message = got.get(timeout=PATIENCE_S)
            assert message.topic == f"paho/{qos}" and message.qos == qos, message.topic
            assert message.payload == payload, f"{size} bytes at QoS {qos}"
    for number in range(500):
        client.publish("other/many", str(number), qos=1)
    for number in range(500):
        assert got.get(timeout=PATIENCE_S).payload == str(number).encode()
    assert client.disconnect() == mqtt.MQTT_ERR_SUCCESS
    client.loop_stop()


for version in (mqtt.MQTTv31, mqtt.MQTTv311):
    converse(version)
print("well")
