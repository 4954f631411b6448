// MQTT.js against a broker: node client.cjs URL
//
// Messages of every QoS and size, sent and received by one client. Prints "well".
"use strict";

const assert = require("node:assert");
const mqtt = require("mqtt");

const url = process.argv[2];
const sizes = [0, 1, 126, 70_000, 1_000_000];

async function main() {
  const client = await mqtt.connectAsync(url, {
    clientId: `node-${process.pid}`,
    protocolVersion: 4,
    reconnectPeriod: 0,
    will: { topic: "node/will", payload: Buffer.from("gone"), qos: 1 },
  });
  const waiting = [];
  const came = [];
  client.on("message", (topic, payload, packet) => {
    const message = { topic, payload, qos: packet.qos };
    if (waiting.length > 0) waiting.shift()(message);
    else came.push(message);
  });
  const next = () =>
    came.length > 0 ? came.shift() : new Promise((resolve) => waiting.push(resolve));
  const granted = await client.subscribeAsync({ "node/+": { qos: 2 }, "other/#": { qos: 1 } });
  assert.deepStrictEqual(granted.map((grant) => grant.qos), [2, 1]);
  for (const qos of [0, 1, 2]) {
    for (const size of sizes) {
      const payload = Buffer.from(Array.from({ length: size }, (_, at) => (at * 31) % 251));
      await client.publishAsync(`node/${qos}`, payload, { qos });
      const message = await next();
      assert.strictEqual(message.qos, qos);
      assert.ok(message.payload.equals(payload), `${size} bytes at QoS ${qos}`);
    }
  }
  const sent = Array.from({ length: 500 }, (_, number) => String(number));
  await Promise.all(sent.map((text) => client.publishAsync("other/many", text, { qos: 1 })));
  for (const text of sent) assert.strictEqual(String((await next()).payload), text);
  await client.endAsync();
  console.log("well");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
