/** The formats in which stored messages are exported. Requests are parsed with it, exports are written by it. */
export type ExportFormat = "ndjson" | "csv";
