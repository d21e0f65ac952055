// @matrixai/quic as a peer: HTTP/0.9 over its streams, as the variables ask for it.
//
// As a server it resets requests that come in the datagram which completes the handshake, so it is none here.
import { randomFillSync } from "node:crypto";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { basename, join } from "node:path";
import Logger, { LogLevel, StreamHandler } from "@matrixai/logger";
import { QUICClient } from "@matrixai/quic";

const UNSUPPORTED = 127;
const TESTCASES = ["handshake", "transfer", "multiconnect", "retry"];
// Once it has met the limit of streams it can open no more, also when that is raised.
const AT_ONCE = 16;
const { ROLE, TESTCASE, REQUESTS, DOWNLOADS, SSLKEYLOGFILE } = process.env;
const logger = new Logger("peer", LogLevel.WARN, [new StreamHandler()]);
const config = { applicationProtos: ["hq-interop"], maxIdleTimeout: 60000, logKeys: SSLKEYLOGFILE || undefined };

async function fetch(connection, url) {
  const stream = connection.newStream("bidi");
  const writer = stream.writable.getWriter();
  await writer.write(Buffer.from(`GET ${url.pathname}\r\n`));
  await writer.close();
  const file = createWriteStream(join(DOWNLOADS, basename(url.pathname)));
  for await (const chunk of stream.readable) if (!file.write(chunk)) await once(file, "drain");
  file.end();
  await once(file, "close");
}

async function download(urls) {
  const client = await QUICClient.createQUICClient({
    host: urls[0].hostname,
    port: Number(urls[0].port || 443),
    serverName: urls[0].hostname,
    crypto: { ops: { randomBytes: async data => void randomFillSync(new Uint8Array(data)) } },
    config: { ...config, verifyPeer: false },
    logger,
  });
  let next = 0;
  const work = async () => {
    while (next < urls.length) await fetch(client.connection, urls[next++]);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, urls.length) }, work));
  await client.destroy({ isApp: true, errorCode: 0 });
}

if (ROLE !== "client" || !TESTCASES.includes(TESTCASE)) process.exit(UNSUPPORTED);
const urls = REQUESTS.split(" ").map(text => new URL(text));
const groups = TESTCASE === "multiconnect" ? urls.map(url => [url]) : [urls];
for (const group of groups) await download(group);
process.exit(0);
