/** The dialog in which somebody says what to be called. The channel page opens it. */
import { chooseName } from "./identity.ts";

/** @param onChange gets the new name, when it is another one */
export function openNameDialog(
  button: HTMLButtonElement,
  dialog: HTMLDialogElement,
  name: () => string,
  onChange: (name: string) => void,
): void {
  const form = dialog.querySelector("form")!;
  const box = dialog.querySelector("input")!;
  button.onclick = () => {
    box.value = name();
    dialog.showModal();
    box.select();
  };
  // A click beside the dialog is one on its backdrop, which belongs to it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  form.onsubmit = () => {
    const chosen = chooseName(box.value);
    if (chosen !== undefined && chosen !== name()) onChange(chosen);
  };
}
