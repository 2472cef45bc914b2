import type { Answers } from "./asking.ts";

export function SignIn({ why, acts }: { readonly why: string | null; readonly acts: Answers }) {
  const submit = (event: SubmitEvent): void => {
    // The policy of the page forbids that a form is sent anywhere; the token goes into a header.
    event.preventDefault();
    const token = new FormData(event.currentTarget as HTMLFormElement).get("token");
    if (typeof token === "string" && token.trim() !== "") acts.signIn(token.trim());
  };
  return (
    <main class="sign-in">
      <form onSubmit={submit}>
        <h2>Sign in</h2>
        <label for="token">Token</label>
        <input
          id="token"
          name="token"
          type="password"
          required
          autoFocus
          autocomplete="off"
          spellcheck={false}
          aria-describedby="token-help"
          aria-invalid={why !== null}
        />
        {why !== null && (
          <p class="refusal" role="alert">
            {why}
          </p>
        )}
        <p id="token-help" class="help">
          It stays in this tab until you close it, and is sent in a header only.{" "}
          <code>handoffd token new NAME --role deploy</code> on the host makes one.
        </p>
        <button type="submit" class="act main">
          Sign in
        </button>
      </form>
    </main>
  );
}
