// The copy button of the page that shows a key. Without this script, the user selects the key in the
// field.
{
  const key = document.getElementById("tp-key");
  const button = document.getElementById("tp-copy");
  const status = document.getElementById("tp-copy-status");

  button.hidden = false;
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(key.value); // works only over TLS and on localhost
    } catch {
      key.select();
      copied = document.execCommand("copy");
    }
    status.classList.toggle("tp-failed", !copied);
    status.textContent = copied ? button.dataset.copied : button.dataset.failed;
  });
}
