/** The builds of the official `centrifuge` client, over every transport it has for a server like this one. */
import { Centrifuge, type Options, type TransportName } from "centrifuge";
import { Centrifuge as ProtobufCentrifuge } from "centrifuge/build/protobuf";
import type { ClientVariant } from "../../suites/centrifuge_clients.ts";

const UTF8 = { encoder: new TextEncoder(), decoder: new TextDecoder() };

/** How one of the two builds of the client is made, and what it takes for data. */
interface Build {
  create(
    endpoint: string | { transport: TransportName; endpoint: string }[],
    options: Partial<Options>,
  ): Centrifuge;
  encode(value: unknown): unknown;
  decode(data: unknown): unknown;
}

const JSON_BUILD: Build = {
  create: (endpoint, options) => new Centrifuge(endpoint, options),
  encode: (value) => value,
  decode: (data) => data,
};

const PROTOBUF_BUILD: Build = {
  create: (endpoint, options) => new ProtobufCentrifuge(endpoint, options) as unknown as Centrifuge,
  encode: (value) => UTF8.encoder.encode(JSON.stringify(value)),
  decode(data) {
    const text = UTF8.decoder.decode(data as Uint8Array);
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  },
};

function overWebSocket(build: Build): ClientVariant["create"] {
  return (url, options) => build.create(`${url.replace("http", "ws")}/connection/websocket`, options);
}

function over(transport: TransportName, build: Build): ClientVariant["create"] {
  return (url, options) => build.create([{ transport, endpoint: `${url}/connection/${transport}` }], options);
}

export const VARIANTS: readonly ClientVariant[] = [
  { name: "websocket in JSON", ...JSON_BUILD, create: overWebSocket(JSON_BUILD) },
  { name: "websocket in Protobuf", ...PROTOBUF_BUILD, create: overWebSocket(PROTOBUF_BUILD) },
  { name: "http_stream in JSON", ...JSON_BUILD, create: over("http_stream", JSON_BUILD) },
  { name: "http_stream in Protobuf", ...PROTOBUF_BUILD, create: over("http_stream", PROTOBUF_BUILD) },
  { name: "sse", ...JSON_BUILD, create: over("sse", JSON_BUILD) },
];
