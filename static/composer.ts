/**
 * The box to write in: Enter sends, Shift and Enter begin a new line. What is not sent yet survives a reload, and what may
 * not be sent stays, with the reason. Conversations open it.
 */

export interface ComposerOptions {
  readonly form: HTMLFormElement;
  /** Where the reason goes why something was not sent. */
  readonly problem: HTMLElement;
  /** Names the draft in this tab. */
  readonly draftKey: string;
  /** Gets each text that is not empty. Answers why it may not be sent, if so. */
  readonly onSend: (text: string) => string | undefined;
}

export class Composer {
  readonly #options: ComposerOptions;
  readonly #box: HTMLTextAreaElement;
  readonly #placeholder: string;

  constructor(options: ComposerOptions) {
    this.#options = options;
    const { form } = options;
    const box = this.#box = form.querySelector("textarea")!;
    this.#placeholder = box.placeholder;
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    box.oninput = () => {
      this.#fit();
      this.#showProblem("");
      saveDraft(options.draftKey, box.value);
    };
    box.onkeydown = (event) => {
      // While an input method composes, Enter only ends the word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    };
    box.value = readDraft(options.draftKey);
    this.#fit();
  }

  /** Takes a text back that was refused. Answers whether it did: not over what somebody is writing. */
  takeBack(text: string, problem: string): boolean {
    if (this.#box.value !== "") return false;
    this.#fill(text);
    this.#showProblem(problem);
    return true;
  }

  /** Lets nothing be written, saying why; undefined lets it be written again. */
  block(reason: string | undefined): void {
    this.#box.disabled = reason !== undefined;
    for (const button of this.#options.form.querySelectorAll("button")) {
      button.disabled = reason !== undefined;
    }
    this.#box.placeholder = reason ?? this.#placeholder;
    this.#fit();
  }

  /** Puts the cursor into the box where that shows no keyboard on the screen, and nobody is elsewhere on the page. */
  focus(): void {
    const isDesktop = matchMedia("(hover: hover) and (pointer: fine)").matches;
    if (isDesktop && document.activeElement === document.body) this.#box.focus({ preventScroll: true });
  }

  #send(): void {
    const text = this.#box.value;
    if (text.trim() === "") return;
    this.#box.focus();
    this.#fill("");
    const problem = this.#options.onSend(text);
    this.#showProblem(problem ?? "");
    if (problem !== undefined) this.#fill(text);
  }

  #fill(text: string): void {
    this.#box.value = text;
    this.#fit();
    saveDraft(this.#options.draftKey, text);
  }

  #fit(): void {
    const box = this.#box;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight + box.offsetHeight - box.clientHeight}px`;
  }

  #showProblem(text: string): void {
    const { problem } = this.#options;
    problem.textContent = text;
    problem.hidden = text === "";
    this.#box.ariaInvalid = text === "" ? null : "true";
  }
}

function readDraft(key: string): string {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function saveDraft(key: string, text: string): void {
  try {
    if (text === "") sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, text);
  } catch {
    // Storage is forbidden or full: the draft is lost with the page.
  }
}
