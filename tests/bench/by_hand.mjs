// The other limit: the same loop by hand as by_hand.py, for a runtime whose event loop and drivers are compiled. One
// connection reads from RabbitMQ (amqplib), one writes rows of 500 with multi-row VALUES (pg), and acks. No outcomes, no
// errors, no reconnect. The job is JSON on standard input; NODE_PATH says where amqplib and pg are.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(`${process.env.NODE_PATH}/`);
const amqp = require("amqplib");
const { Client } = require("pg");

const QUIET_MS = 100;
const { broker, database, queue, sql, columns, batch } = JSON.parse(await text(process.stdin));

const client = new Client(database);
await client.connect();
const connection = await amqp.connect(broker);
const channel = await connection.createChannel();
await channel.prefetch(4 * batch);

const statements = new Map();
function statement(rows) {
  if (!statements.has(rows)) {
    let number = 0;
    const row = () => `(${columns.map(() => `$${(number += 1)}`).join(", ")})`;
    statements.set(rows, `${sql} VALUES ${Array.from({ length: rows }, row).join(", ")}`);
  }
  return statements.get(rows);
}

let ready = [];
let writing = false;
async function write(least) {
  if (writing) return;
  writing = true;
  while (ready.length >= least) {
    const taken = ready.splice(0, batch);
    const values = [];
    for (const message of taken) {
      const item = JSON.parse(message.content);
      for (const name of columns) values.push(item[name]);
    }
    await client.query({ name: `rows-${taken.length}`, text: statement(taken.length), values });
    channel.ack(taken.at(-1), true);
  }
  writing = false;
}

let quiet;
function afterQuiet() {
  if (writing) quiet = setTimeout(afterQuiet, QUIET_MS);
  else write(1);
}
await channel.consume(queue, (message) => {
  ready.push(message);
  if (ready.length >= batch) write(batch);
  clearTimeout(quiet);
  quiet = setTimeout(afterQuiet, QUIET_MS);
});
