/** The form that publishes a message to any channel. */
import { ask } from "./connection.ts";
import { find, setText } from "./elements.ts";

/** Makes the form work. Returns what fills in a channel. */
export function openPublish(): (channel: string) => void {
  const form = find<HTMLFormElement>("publish");
  const channel = find<HTMLInputElement>("publish-channel");
  const text = find<HTMLTextAreaElement>("publish-text");
  const result = find("publish-result");
  form.onsubmit = async (event) => {
    event.preventDefault();
    const name = channel.value.trim().replace(/^\//, "");
    const path = name.split("/").map(encodeURIComponent).join("/");
    try {
      const response = await ask(`/${path}`, {
        method: "POST",
        body: text.value,
        headers: { accept: "application/json", "content-type": "text/plain; charset=utf-8" },
      });
      const { subscribers } = await response.json();
      text.value = "";
      setText(
        result,
        `Published to ${name}, ${subscribers} ${subscribers === 1 ? "subscriber" : "subscribers"}.`,
      );
    } catch (error) {
      setText(result, error instanceof Error ? error.message : String(error));
    }
  };
  return (name) => {
    channel.value = name;
  };
}
