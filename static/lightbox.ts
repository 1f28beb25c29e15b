/** Shows a picture as large as the window, with the others of the conversation beside it. The channel page opens it. */

/** @param places where pictures are that open it */
export function openLightbox(dialog: HTMLDialogElement, places: readonly HTMLElement[]): void {
  const picture = dialog.querySelector("img")!;
  const save = dialog.querySelector<HTMLAnchorElement>("a")!;
  const [previous, next] = [...dialog.querySelectorAll<HTMLButtonElement>("[data-step]")];
  let links: HTMLAnchorElement[] = [];
  let at = 0;
  const show = (index: number) => {
    at = index;
    const link = links[at];
    const small = link?.querySelector("img");
    if (link === undefined || !small) return dialog.close();
    picture.src = link.href;
    picture.alt = small.alt;
    save.href = link.href;
    save.download = link.dataset.download ?? "picture";
    if (previous) previous.disabled = at === 0;
    if (next) next.disabled = at === links.length - 1;
  };
  const step = (by: number) => {
    if (links[at + by] !== undefined) show(at + by);
  };
  if (previous) previous.onclick = () => step(-1);
  if (next) next.onclick = () => step(1);
  dialog.addEventListener("keydown", ({ key }) => {
    if (key === "ArrowLeft") step(-1);
    if (key === "ArrowRight") step(1);
  });
  // A click beside the picture is one on the dialog itself.
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  dialog.addEventListener("close", () => links[at]?.focus());
  for (const place of places) {
    place.addEventListener("click", (event) => {
      const link = event.target instanceof Element && event.target.closest<HTMLAnchorElement>("a.picture");
      // With a key held it is a new tab, as everywhere.
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      links = [...place.querySelectorAll<HTMLAnchorElement>("a.picture")];
      show(links.indexOf(link));
      dialog.showModal();
    });
  }
}
