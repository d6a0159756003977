// The JavaScript client, which does what foreign.py says: a line of JSON for each request, one for
// each answer. The folder with node_modules is the first argument.
'use strict';

const {createRequire} = require('module');
const path = require('path');
const readline = require('readline');

const infinispan = createRequire(path.join(process.argv[2], 'package.json'))('infinispan');

const clients = {};
const listeners = {};
const WAIT_MS = 20000;

// Version of an entry: a Buffer there, hexadecimal here.
const shownEntry = (found) =>
    found && {...found, version: found.version && found.version.toString('hex')};
const orNull = (value) => (value === undefined ? null : value);

const access = {
  get: (client, q) => client.get(q.key),
  put: (client, q) => client.put(q.key, q.value, q.options),
  put_if_absent: (client, q) => client.putIfAbsent(q.key, q.value, q.options),
  replace: (client, q) => client.replace(q.key, q.value, q.options),
  remove: (client, q) => client.remove(q.key, q.options),
  contains: (client, q) => client.containsKey(q.key),
  get_with_metadata: (client, q) => client.getWithMetadata(q.key).then(shownEntry),
  replace_with_version: (client, q) =>
    client.replaceWithVersion(q.key, q.value, Buffer.from(q.version, 'hex'), q.options),
  remove_with_version: (client, q) =>
    client.removeWithVersion(q.key, Buffer.from(q.version, 'hex'), q.options),
  put_all: (client, q) => client.putAll(q.entries),
  get_all: (client, q) => client.getAll(q.keys),
  size: (client) => client.size(),
  clear: (client) => client.clear(),
  stats: (client) => client.stats(),
  version: (client) => client.getProtocolVersion(),
  topology: (client) => client.getTopologyInfo().getMembers(),
  iterate: async (client, q) => {
    const iterator = await client.iterator(q.batch, {metadata: Boolean(q.metadata)});
    const found = [];
    for (let one = await iterator.next(); !one.done; one = await iterator.next()) {
      found.push(shownEntry({...one}));
    }
    await iterator.close();
    return found;
  },
  listen: async (client, q) => {
    const heard = (listeners[q.listener] = {events: [], id: undefined});
    const note = (kind) => (key, version) =>
      heard.events.push([kind, key, Buffer.isBuffer(version) ? version.toString('hex') : null]);
    heard.id = await client.addListener('create', note('created'));
    for (const [event, kind] of
      [['modify', 'modified'], ['remove', 'removed'], ['expiry', 'expired']]) {
      await client.addListener(event, note(kind), {listenerId: heard.id});
    }
  },
  unlisten: (client, q) => client.removeListener(listeners[q.listener].id),
  events: async (client, q) => {
    const heard = listeners[q.listener].events;
    const deadline = Date.now() + WAIT_MS;
    while (heard.length < q.count && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return heard.splice(0);
  },
  counter_define: (client, q) => client.counterCreate(q.counter, q.configuration),
  counter_is_defined: (client, q) => client.counterIsDefined(q.counter),
  counter_configuration: (client, q) => client.counterGetConfiguration(q.counter),
  counter_get: (client, q) => client.counterGet(q.counter),
  counter_add: (client, q) => client.counterAddAndGet(q.counter, q.value),
  counter_set: (client, q) => client.counterGetAndSet(q.counter, q.value),
  counter_swap: (client, q) => client.counterCompareAndSwap(q.counter, q.expected, q.value),
  counter_reset: (client, q) => client.counterReset(q.counter),
  counter_remove: (client, q) => client.counterRemove(q.counter),
  multimap_put: (client, q) => client.multimapPut(q.key, q.value),
  multimap_get: (client, q) => client.multimapGet(q.key),
  multimap_size: (client) => client.multimapSize(),
  multimap_contains: (client, q) => client.multimapContainsEntry(q.key, q.value),
  multimap_remove: (client, q) => client.multimapRemoveKey(q.key),
};

async function perform(q) {
  if (q.do === 'connect') {
    clients[q.client] = await infinispan.client(q.servers, q.options);
    return null;
  }
  const client = clients[q.client];
  if (q.do === 'close') {
    delete clients[q.client];
    await client.disconnect();
    return null;
  }
  return orNull(await access[q.do](client, q));
}

async function main() {
  for await (const line of readline.createInterface({input: process.stdin})) {
    let answer;
    try {
      answer = {result: await perform(JSON.parse(line))};
    } catch (error) {
      answer = {error: String((error && error.stack) || error)};
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0); // without waiting for connections
}

main();
