/** Tabs as the ARIA Authoring Practices describe them: one stop of the Tab key, arrows between them. The home page has some. */

/** Makes the tabs of a list show their panels, the first one at once. Hidden tabs are passed over. */
export function openTabs(list: HTMLElement): void {
  const tabs = [...list.querySelectorAll<HTMLElement>("[role=tab]")].filter(({ hidden }) => !hidden);
  const select = (chosen: HTMLElement) => {
    for (const tab of tabs) {
      tab.ariaSelected = String(tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")!)!.hidden = tab !== chosen;
    }
  };
  for (const [i, tab] of tabs.entries()) {
    tab.onclick = () => select(tab);
    tab.onkeydown = (event) => {
      const places: Readonly<Record<string, number>> = {
        ArrowRight: (i + 1) % tabs.length,
        ArrowLeft: (i + tabs.length - 1) % tabs.length,
        Home: 0,
        End: tabs.length - 1,
      };
      const next = tabs[places[event.key] ?? -1];
      if (next === undefined) return;
      event.preventDefault();
      select(next);
      next.focus();
    };
  }
  if (tabs[0] !== undefined) select(tabs[0]);
}
