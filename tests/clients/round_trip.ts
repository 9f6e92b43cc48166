// Uses every API of a running service through the types that openapi-typescript made, and tells as JSON what came back.
// Arguments: URL of the service, an admin key.

import createClient from "openapi-fetch";
import type { paths } from "./smarthouse.js";

declare const process: { argv: string[] };

const [baseUrl = "", key = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

const header = { "Home-UUID": "6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11" };
const state = { entity_id: "sensor.kitchen", state: "21.5", attributes: {}, last_updated: "2026-03-01T12:00:00+00:00" };
const base = "/homes/{homeId}/smartModules/{moduleId}/streams/{streamName}";
const camera = { homeId: 7, moduleId: "typescript", streamName: "camera" };
const as = { bodySerializer: (body: string) => body };

// What an operation answered, which must not be an error.
async function done<Data>(answer: Promise<{ data?: Data; error?: unknown; response: Response }>): Promise<NonNullable<Data>> {
  const { data, error, response } = await answer;
  if (data === undefined || data === null) throw new Error(`${response.status} ${JSON.stringify(error)}`);
  return data;
}

// JSON, of an operation that can also answer with text or bytes.
function json<Data>(answer: Data): Exclude<Data, string> {
  if (typeof answer === "string") throw new Error(answer);
  return answer as Exclude<Data, string>;
}

async function homes() {
  const receipt = await done(client.POST("/api/ingest/data", { params: { header }, body: { "sensor.kitchen": [state] } }));
  const query = { formats: ["json"], types: ["sensor"] };
  const zip = await done(client.GET("/api/export/dataset", { params: { query }, parseAs: "arrayBuffer" }));
  const formats = await done(client.GET("/api/export/formats", { parseAs: "text" }));
  const forgotten = await done(client.DELETE("/api/ingest/data", { params: { header } }));
  return {
    uploaded: receipt.records,
    zip: btoa(String.fromCharCode(...new Uint8Array(zip))),
    formats,
    forgotten: forgotten.message,
  };
}

async function collections() {
  const of = { ver: "v2", ts: "now", params: { msgid: "1" } };
  const request = { dataset_id: "typescript", name: "By TypeScript" };
  const created = await done(client.POST("/v2/datasets/create", { body: { ...of, id: "api.datasets.create", request } }));
  const inserted = await done(
    client.POST("/restapi/datasource/insert", {
      params: { header: { "Idempotency-Key": "once" } },
      body: { datasource_id: "typescript", data: [{ value: 21.5 }] },
    }),
  );
  const data = [{ value: 1 }, { value: 2 }];
  const path = { dataset_id: "typescript" };
  await done(client.POST("/v2/data/in/{dataset_id}", { params: { path }, body: { ...of, id: "api.data.in", data } }));
  const records = await done(
    client.GET("/restapi/datasource/{datasource_id}/records", {
      params: { path: { datasource_id: "typescript" }, query: { limit: 10, meta: false } },
    }),
  );
  const read = await done(client.GET("/v2/datasets/records/{dataset_id}", { params: { path } }));
  const out = await done(client.GET("/v2/data/out/{dataset_id}", { params: { path, query: { limit: 10 } } }));
  const listed = await done(client.POST("/v2/datasets/list", { body: { ...of, id: "api.datasets.list", request: {} } }));
  return {
    created: created.result?.id,
    inserted: inserted.inserted_rows,
    records: json(records).records,
    read: json(read).result?.records?.length,
    events: out.result?.events?.map((one) => one.event),
    names: listed.result?.data?.map((one) => one.name),
  };
}

async function streams() {
  const params = { path: camera };
  const range = { path: camera, query: { start: 0, stop: 9 } };
  await done(client.PUT(base, { params }));
  const octets = { "Content-Type": "application/octet-stream" };
  await done(client.POST(`${base}/data`, { params, body: "hello ", headers: octets, ...as }));
  const lines = { "Content-Type": "application/x-ndjson" };
  await done(client.POST(`${base}/data`, { params, body: `{"data":"${btoa("world")}"}\n`, headers: lines, ...as }));
  const status = await done(client.GET(`${base}/status`, { params }));
  const packet = { path: { ...camera, packetIndex: 1 } };
  await done(client.PUT(`${base}/metadata/{packetIndex}`, { params: packet, body: { light: "on" } }));
  await done(client.POST(`${base}/sessions`, { params, body: { start: 0, stop: 1 } }));
  const sessions = await done(client.GET(`${base}/sessions`, { params: range }));
  const metadata = await done(client.GET(`${base}/metadata`, { params: range }));
  const refused = await client.GET(base, { params: { path: { ...camera, streamName: "nothing" } } });
  return {
    last: status.packetIndex,
    packets: await done(client.GET(`${base}/data`, { params: { path: camera, query: { start: 0, stop: 1 } }, parseAs: "text" })),
    sessions: sessions.map((one) => [one.start, one.stop]),
    metadata: metadata.map((one) => one.content),
    refused: refused.error?.reason,
  };
}

const ready = await done(client.GET("/health/ready"));
console.log(JSON.stringify({ health: ready.status, ...(await homes()), ...(await collections()), ...(await streams()) }));
