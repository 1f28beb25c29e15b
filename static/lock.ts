/** Switches off what the server would refuse while it lets this page read nothing. Conversations and patterns use it. */

/** Their titles while they are not locked. */
const titles = new Map<HTMLElement, string>();

/** Disables every control of `data-needs="reading"`, saying why; undefined enables them again. */
export function lockControls(reason: string | undefined): void {
  const controls = document.querySelectorAll<HTMLButtonElement | HTMLInputElement | HTMLTextAreaElement>(
    '[data-needs="reading"]',
  );
  for (const control of controls) {
    control.disabled = reason !== undefined;
    if (reason !== undefined) {
      if (!titles.has(control)) titles.set(control, control.title);
      control.title = reason;
    } else if (titles.has(control)) {
      control.title = titles.get(control)!;
      titles.delete(control);
    }
  }
}
