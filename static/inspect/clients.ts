/** Who is connected: the table of clients, and one of them in full with a button to disconnect it. */
import { ask, createReader, read, repeat } from "./connection.ts";
import { create, createRowButton, find, Rows, setText, showFacts } from "./elements.ts";
import { formatAge, formatBytes, formatCount, formatTime } from "./format.ts";

export interface ClientRow {
  /** Tells connections apart, where several have one id. */
  readonly connection: string;
  readonly id: string;
  readonly name?: string;
  readonly user?: string;
  readonly protocol: string;
  readonly address: string;
  readonly since: number;
}

interface ClientDetails extends ClientRow {
  readonly queuedBytes: number;
  readonly subscriptions: readonly string[];
  readonly subscriptionCount: number;
}

const RENEW_MILLISECONDS = 3_000;
const DETAILS_MILLISECONDS = 1_000;
const TYPING_MILLISECONDS = 200;

/** Opens the table. Returns what closes it. */
export function openClients(): () => void {
  const filter = find<HTMLInputElement>("client-filter");
  const rows = new Rows<ClientRow>(
    find("client-rows"),
    ({ connection }) => connection,
    (client) => {
      const head = create(
        "th",
        "",
        createRowButton(client.name ?? client.user ?? client.id, () => openClient(client)),
      );
      head.scope = "row";
      return [head, create("td", ""), create("td", ""), create("td", "")];
    },
    ({ protocol, address, since }, [, ...cells]) => {
      [protocol, address, formatAge(since)].forEach((text, i) => setText(cells[i]!, text));
    },
  );
  const readClients = createReader<{ rows: ClientRow[]; total: number }>("clients");
  const renew = async () => {
    const page = await readClients({ filter: filter.value });
    if (page === undefined) return;
    const { rows: found, total } = page;
    rows.show(found, filter.value === "" ? "Nobody is connected." : "Nobody has that.");
    const shown = found.length < total ? `The first ${formatCount(found.length)} of ` : "";
    setText(find("client-count"), `${shown}${formatCount(total)} ${total === 1 ? "client" : "clients"}`);
  };
  let typing = 0;
  filter.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => void renew().catch(() => {}), TYPING_MILLISECONDS);
  };
  return repeat(RENEW_MILLISECONDS, renew);
}

/** Shows one client in a dialog. */
export function openClient({ connection, id, name, user }: ClientRow): void {
  const dialog = find<HTMLDialogElement>("client");
  const disconnect = find<HTMLButtonElement>("client-disconnect");
  const result = find("client-result");
  setText(find("client-title"), name ?? user ?? id);
  find("client-facts").replaceChildren();
  setText(result, "");
  disconnect.disabled = false;
  let isShown = true;
  const fail = (error: unknown) => {
    if (!isShown) return;
    disconnect.disabled = true;
    setText(result, error instanceof Error ? error.message : String(error));
  };
  const stop = repeat(DETAILS_MILLISECONDS, async () => {
    if (disconnect.disabled) return;
    try {
      const details = await read<ClientDetails>("client", { connection });
      // By now the dialog may show another client.
      if (isShown) showFacts(find("client-facts"), toFacts(details));
    } catch (error) {
      fail(error);
    }
  });
  disconnect.onclick = async () => {
    disconnect.disabled = true;
    try {
      await ask(`/_inspect/disconnect?${new URLSearchParams({ connection })}`, { method: "POST" });
      if (isShown) setText(result, "Disconnected.");
    } catch (error) {
      fail(error);
    }
  };
  find("client-close").onclick = () => dialog.close();
  dialog.onclose = () => {
    isShown = false;
    stop();
  };
  dialog.showModal();
}

function toFacts(client: ClientDetails): (readonly [string, string])[] {
  const { subscriptions, subscriptionCount } = client;
  const more = subscriptionCount > subscriptions.length
    ? ` and ${subscriptionCount - subscriptions.length} more`
    : "";
  return [
    ["Id", client.id],
    ["Name", client.name ?? "none"],
    ["User", client.user ?? "none"],
    ["Protocol", client.protocol],
    ["Address", client.address],
    ["Connected", `${formatTime(client.since)}, ${formatAge(client.since)} ago`],
    ["Waiting for it", formatBytes(client.queuedBytes)],
    ["Reads", subscriptions.length === 0 ? "nothing" : subscriptions.join(", ") + more],
  ];
}
