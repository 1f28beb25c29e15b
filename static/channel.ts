/** The live page of one channel: the one whose path this page was opened at. */
import { quoteForShell, showCommands } from "./command.ts";
import { openConversation } from "./conversation.ts";

const { origin, pathname } = location;
const channel = decodeURIComponent(pathname.slice(1));

document.title = `${channel} · Raindrops`;
document.querySelector("#channel")!.textContent = channel;

// A list or pattern reads many channels, so there is no one channel to write to.
const mayWrite = !/[*,]/.test(pathname);
document.querySelector<HTMLElement>("#composer")!.hidden = !mayWrite;
document.querySelector("code.command")!.textContent = mayWrite
  ? `curl -d 'it rains' ${quoteForShell(origin + pathname)}`
  : `curl -N ${quoteForShell(`${origin}${pathname}?follow`)}`;

showCommands();
openConversation(pathname, new URLSearchParams(location.search).get("name") ?? "");
