/** What the server says of itself at `/metrics`, for the soak to hold against what the ledger knows. */

export class ServerMetrics {
  readonly #samples: readonly { readonly name: string; readonly labels: string; readonly value: number }[];

  private constructor(text: string) {
    this.#samples = [...text.matchAll(/^(\w+)(\{.*\})? (\S+)$/gm)].map((
      [, name = "", labels = "", value],
    ) => ({
      name,
      labels,
      value: Number(value),
    }));
  }

  static async read(url: string): Promise<ServerMetrics> {
    // Not kept alive: the connection would count among the server's descriptors.
    const response = await fetch(`${url}/metrics`, { headers: { connection: "close" } });
    return new ServerMetrics(await response.text());
  }

  /** A metric's value, summed up over its labels. */
  sum(name: string): number {
    const found = this.#samples.filter((sample) => sample.name === name);
    return found.reduce((total, { value }) => total + value, 0);
  }

  /** The upper bound, in milliseconds, of what a part of a histogram's observations stayed below. */
  quantile(name: string, part: number): number {
    const count = this.sum(`${name}_count`);
    const bucket = this.#samples.find((sample) =>
      sample.name === `${name}_bucket` && sample.value >= count * part
    );
    return Number(/le="([\d.]+)"/.exec(bucket?.labels ?? "")?.[1] ?? Infinity) * 1_000;
  }
}
