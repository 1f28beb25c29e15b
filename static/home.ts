/** The home page: commands to copy, a box that opens a channel, and the live lobby. */
import { showCommands } from "./command.ts";
import { openConversation } from "./conversation.ts";

showCommands();
openConversation("/", "");

const form = document.querySelector<HTMLFormElement>("#open")!;
document.querySelector("#origin")!.textContent = `${location.host}/`;
form.onsubmit = (event) => {
  event.preventDefault();
  const name = form.querySelector("input")!.value.trim().replace(/^\/+/, "");
  // A channel's name may hold a "#" but no "?"; both would end the path if they stood there as they are.
  location.href = "/" + encodeURI(name).replaceAll("#", "%23").replaceAll("?", "%3F");
};
