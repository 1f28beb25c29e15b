/** The page in the place of one that could not be fetched: says why, and goes on as soon as the server answers. */

const RETRY_MILLISECONDS = 5_000;

const why = document.querySelector<HTMLElement>("#why")!;

function showWhy(): void {
  const words = navigator.onLine
    ? "You are online, but the server does not answer. This page goes on by itself when it does."
    : "You are offline. This page goes on by itself when you are back.";
  if (why.textContent !== words) why.textContent = words;
}

/** Loads what was asked for, once anything answers: the answer may still be an error, which is then shown. */
async function goOn(): Promise<void> {
  showWhy();
  try {
    await fetch("/robots.txt", { method: "HEAD", cache: "no-store" });
  } catch {
    return;
  }
  // Opened by its own address there is nothing behind it.
  if (location.pathname === "/_offline") location.replace("/");
  else location.reload();
}

showWhy();
document.querySelector<HTMLButtonElement>("#again")!.onclick = () => location.reload();
addEventListener("online", () => void goOn());
addEventListener("offline", showWhy);
if (location.pathname !== "/_offline") setInterval(() => void goOn(), RETRY_MILLISECONDS);
