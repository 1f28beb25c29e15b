/** Makes pictures small enough for one message. Attachments use it. */

/** Longest side of a picture that is sent, in pixels: more is not seen in a conversation. */
const LONGEST_SIDE = 1_600;
/** Below this, in pixels, a smaller picture would show nothing. */
const SHORTEST_SIDE = 160;
const QUALITIES = [0.85, 0.7, 0.55, 0.4];

/** Types that browsers show and that can hold no script: all others are sent as files. */
const PICTURES = /^image\/(?:png|jpeg|gif|webp|avif|bmp)$/;

/** Whether a file is a picture that can be drawn smaller. */
export function isPicture({ type }: File): boolean {
  return PICTURES.test(type);
}

/**
 * A picture of at most so many bytes: the file itself where it is small enough and of a type that all readers show, else
 * drawn anew, in fewer pixels and at lower quality as far as that takes. What else its file says, such as where it was
 * taken, is not sent then.
 *
 * @throws {TypeError} in words for a person, when it is no picture or cannot be made small enough
 */
export async function shrinkPicture(file: File, limit: number): Promise<Blob> {
  if (file.size <= limit && /^image\/(?:png|gif|webp)$/.test(file.type)) return file;
  const picture = await createImageBitmap(file).catch(() => {
    throw new TypeError("This picture cannot be read.");
  });
  try {
    const longest = Math.max(picture.width, picture.height);
    for (let side = Math.min(LONGEST_SIDE, longest);; side = Math.floor(side * 0.7)) {
      for (const quality of QUALITIES) {
        const blob = await draw(picture, side / longest, quality);
        if (blob !== null && blob.size <= limit) return blob;
      }
      if (side < SHORTEST_SIDE) throw new TypeError("This picture cannot be made small enough.");
    }
  } finally {
    picture.close();
  }
}

function draw(picture: ImageBitmap, scale: number, quality: number): Promise<Blob | null> {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  // Where WebP cannot be written the browser writes PNG, which is mostly too large: JPEG then.
  return new Promise((resolve) =>
    canvas.toBlob(
      (blob) => {
        if (blob?.type === "image/webp") resolve(blob);
        else canvas.toBlob(resolve, "image/jpeg", quality);
      },
      "image/webp",
      quality,
    )
  );
}
