"""Scores one image and lists the known defects that look most like its own.

python examples/similar.py STORE CATEGORY IMAGE
"""

import sys

import vecspect


def main(location: str, category: str, image: str) -> None:
    with vecspect.open_store(location) as store:
        inspector = vecspect.Inspector(store, category)
        features = inspector.features(image)  # decoded and embedded once for both questions
        prediction = inspector.inspect(features)
        print(prediction)
        prediction.explain().save("explanation.png")
        if prediction.verdict == "ok":
            return
        for found in inspector.similar(features, by="defect", top=5):
            print(f"{found.distance:.4f}  {found.defect_type or 'unnamed'}  {found.path}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except vecspect.VecspectError as error:
        sys.exit(str(error))
