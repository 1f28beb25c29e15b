/** The box to write in: Enter sends, Shift and Enter begin a new line. Conversations open it. */

/** @param onSend gets each text that is not empty */
export function openComposer(form: HTMLFormElement, onSend: (text: string) => void): void {
  const box = form.querySelector("textarea")!;
  const fit = () => {
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = box.value;
    if (text.trim() === "") return;
    box.value = "";
    fit();
    box.focus();
    onSend(text);
  };
  box.oninput = fit;
  box.onkeydown = (event) => {
    // While an input method composes, Enter only ends the word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  };
}
