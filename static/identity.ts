/** Who sits in front of this browser: a name, chosen once and remembered, and an id. And the colours of names. */
import { createId, recall, remember } from "./remembered.ts";

const NAME = "raindrops.name";
const ID = "raindrops.id";
const MAX_NAME_LENGTH = 40;

const MOODS = ["Calm", "Misty", "Bright", "Quiet", "Brisk", "Mellow", "Silver", "Early", "Gentle", "Sunny"];
const ANIMALS = ["Heron", "Otter", "Newt", "Duck", "Frog", "Swift", "Snail", "Crane", "Trout", "Robin"];

/** The name others see. Whoever has not chosen one yet gets one to begin with. */
export function readName(): string {
  // A name in the address is for this page alone, as it is for sockets.
  const given = tidyName(new URLSearchParams(location.search).get("name") ?? "");
  if (given !== "") return given;
  const known = tidyName(recall(NAME) ?? "");
  if (known !== "") return known;
  const name = `${pick(MOODS)} ${pick(ANIMALS)}`;
  remember(NAME, name);
  return name;
}

/** Keeps a new name. Answers how it is written, or undefined when nothing of it is left. */
export function chooseName(text: string): string | undefined {
  const name = tidyName(text);
  if (name === "") return undefined;
  remember(NAME, name);
  return name;
}

/** The id that tells this browser's messages from those of others with the same name. */
export function readId(): string {
  let id = recall(ID);
  if (id === undefined || !/^[0-9a-f]{32}$/.test(id)) remember(ID, id = createId());
  return id;
}

/** The hue a name or id is shown in, the same on every page. */
export function hueOf(text: string): number {
  let sum = 0;
  for (const letter of text) sum = (sum * 31 + letter.codePointAt(0)!) % 3600;
  return sum / 10;
}

function tidyName(text: string): string {
  return [...text.replaceAll(/\p{Cc}+/gu, " ").trim()].slice(0, MAX_NAME_LENGTH).join("").trim();
}

function pick(words: readonly string[]): string {
  return words[crypto.getRandomValues(new Uint32Array(1))[0]! % words.length]!;
}
